//! What a page shows of the images.

use maud::{Markup, html};

use crate::data::sheet::{Sheet, Shown};

/// An image of each class, as the network reads it and as it is varied.
pub fn section(sheet: &Sheet) -> Markup {
    let Sheet { classes, more, varied } = sheet;
    html! {
        section {
            h2 { "Images" }
            p.quiet {
                "Of each class the first training image as the network reads it"
                @if !varied.is_empty() { ", and twice as the training varies it: " (varied) }
                "."
            }
            div.sheet {
                @for Shown { name, images } in classes {
                    figure {
                        div {
                            @for (index, image) in images.iter().enumerate() {
                                img alt=(alternative(name, index)) src=(format!("data:image/png;base64,{image}"));
                            }
                        }
                        figcaption { (name) }
                    }
                }
            }
            @if *more > 0 { p.quiet { "And " (more) @if *more == 1 { " more class." } @else { " more classes." } } }
        }
    }
}

/// What an image shows, for a reader who does not see it.
fn alternative(name: &str, index: usize) -> String {
    if index == 0 { name.to_owned() } else { format!("{name}, varied") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_images_and_its_name() {
        let shown = |name: &str| Shown { name: name.to_owned(), images: vec!["AA==".into(), "BB==".into()] };
        let sheet =
            Sheet { classes: vec![shown("<a>"), shown("b")], more: 7, varied: "mirrored or not".into() };
        let page = section(&sheet).into_string();
        assert_eq!(page.matches("<img").count(), 4);
        for words in
            ["&lt;a&gt;</figcaption>", "base64,BB==", "varies it: mirrored or not.", "And 7 more classes."]
        {
            assert!(page.contains(words), "no {words} in {page}");
        }
        let page = section(&Sheet { more: 0, varied: String::new(), ..sheet }).into_string();
        assert!(!page.contains("And ") && page.contains("network reads it."), "{page}");
    }
}
