//! What a page says of the pictures of a folder.

use maud::{Markup, html};

use crate::data::Survey;
use crate::data::survey::LeftOut;
use crate::readable::grouped;

/// The pictures: how many of each class, how large, and where those for the test come from.
pub fn section(survey: &Survey) -> Markup {
    let [[width, height], [widest, highest]] = [survey.smallest, survey.largest];
    html! {
        section {
            h2 { "Pictures" }
            p {
                (grouped(survey.pictures())) " pictures of " (width) "×" (height) " to " (widest) "×" (highest)
                " pixels. Test pictures: " (survey.test) "."
            }
            @if let Some([fewest, most]) = survey.extremes().filter(|[fewest, most]| fewest.train < most.train) {
                p {
                    "The class with the fewest training pictures is " (fewest.name) " with " (grouped(fewest.train))
                    ", that with the most " (most.name) " with " (grouped(most.train)) "."
                }
            }
            @if !survey.left_out.is_empty() {
                p { "Of these files no images were made:" }
                ul {
                    @for LeftOut { reason, count, names } in &survey.left_out {
                        li { (grouped(*count)) " × " (reason) ": " (names.join(", ")) @if *count > names.len() { ", …" } }
                    }
                }
            }
            div.wide tabindex="0" {
                table.plan {
                    thead { tr { th { "class" } th { "training" } th { "test" } } }
                    tbody {
                        @for class in &survey.classes {
                            tr { th { (class.name) } td { (grouped(class.train)) } td { (grouped(class.test)) } }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::survey::ClassCount;

    #[test]
    fn classes_sizes_and_the_origin_of_the_test_are_told() {
        let class = |name: &str, train| ClassCount { name: name.to_owned(), train, test: 4 };
        let survey = Survey {
            classes: vec![class("<a>", 1200), class("b", 30)],
            smallest: [16, 8],
            largest: [640, 480],
            elongated: 0,
            test: "pictures/test".to_owned(),
            left_out: vec![LeftOut {
                reason: "is empty".to_owned(),
                count: 12,
                names: vec!["a/<1>.png".to_owned()],
            }],
        };
        let page = section(&survey).into_string();
        for words in
            ["1,238 pictures of 16×8 to 640×480", "pictures/test", "fewest training pictures is b with 30"]
        {
            assert!(page.contains(words), "no {words} in {page}");
        }
        assert!(page.contains("<li>12 × is empty: a/&lt;1&gt;.png, …</li>"), "{page}");
        assert!(page.contains("<th>&lt;a&gt;</th><td>1,200</td><td>4</td>"), "{page}");
    }
}
