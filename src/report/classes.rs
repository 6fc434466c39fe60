//! What the page of a training says of the classes.

use maud::{Markup, html};

use super::parts::percent;
use crate::store::classes::{Classes, Confused, MOST_COLUMNS, confused, recognised};

/// What the page says of the classes.
pub fn section(classes: &Classes) -> Markup {
    let rows = || classes.names.iter().zip(&classes.confusion).enumerate();
    html! {
        section {
            h2 { "Classes" }
            p.quiet { "Of the test images, after epoch " (classes.epoch) "." }
            @if classes.names.len() <= MOST_COLUMNS {
                p.quiet { "Rows are classes, columns are guesses." }
                div.wide tabindex="0" { (matrix(classes)) }
            } @else {
                (most_frequent(classes))
                div.wide tabindex="0" {
                    table.plan {
                        thead { tr { th { "class" } th { "images" } th { "right" } } }
                        tbody {
                            @for (class, (name, row)) in rows() {
                                tr { th { (name) } td { (row.iter().sum::<usize>()) } td { (share(class, row)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The matrix of confusions with the share that was right, the darker the larger a part of its row.
fn matrix(classes: &Classes) -> Markup {
    let heat = |count: usize, row: &[usize]| match row.iter().sum::<usize>() {
        0 => 0.0,
        all => 64.0 * count as f64 / all as f64,
    };
    html! {
        table.heat {
            thead { tr { th { "class" } @for name in &classes.names { th { (name) } } th { "right" } } }
            tbody {
                @for (class, (name, row)) in classes.names.iter().zip(&classes.confusion).enumerate() {
                    tr {
                        th { (name) }
                        @for (guess, &count) in row.iter().enumerate() {
                            td.kept[guess == class] style=(format!("--heat:{:.0}", heat(count, row))) { (count) }
                        }
                        td { (share(class, row)) }
                    }
                }
            }
        }
    }
}

fn most_frequent(classes: &Classes) -> Markup {
    let wrong = confused(&classes.confusion);
    html! {
        h3 { "Most frequent confusions" }
        ul {
            @for Confused { count, class, guess } in wrong.into_iter().take(MOST_COLUMNS) {
                li { (count) " × " (classes.names[class]) " taken for " (classes.names[guess]) }
            }
        }
    }
}

fn share(class: usize, row: &[usize]) -> String {
    recognised(class, row).map_or("-".to_owned(), percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(count: usize) -> Classes {
        let row = |class: usize| (0..count).map(|guess| if guess == class { 5 } else { guess % 2 }).collect();
        let names = (0..count).map(|class| format!("<{class}>")).collect();
        Classes { epoch: 3, names, confusion: (0..count).map(row).collect() }
    }

    #[test]
    fn few_classes_are_a_matrix_and_many_a_list() {
        let page = section(&classes(3)).into_string();
        assert_eq!((page.matches("<td").count(), page.matches("class=\"kept\"").count()), (3 * 4, 3));
        assert!(page.contains("&lt;1&gt;") && !page.contains("<1>"), "{page}");
        let page = section(&classes(MOST_COLUMNS + 1)).into_string();
        assert_eq!(page.matches("<li>").count(), MOST_COLUMNS);
        assert!(page.contains("1 × &lt;0&gt; taken for &lt;1&gt;"), "{page}");
    }
}
