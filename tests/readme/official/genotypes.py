"""The type of a genotype, by the names of the official implementation."""

from typing import NamedTuple


class Genotype(NamedTuple):
    normal: list
    normal_concat: list
    reduce: list
    reduce_concat: list
