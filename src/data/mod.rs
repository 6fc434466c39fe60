//! Data sets, splits, augmentation, loader.
