//! What partial channel connections go together with.

use super::Violation;
use crate::method::schedule::probability;

/// Partial channel connections that cannot be.
pub(super) fn partial_conflict(partial: usize, channels: usize, edge_drop_path: &str) -> Option<Violation> {
    if !channels.is_multiple_of(partial) {
        let expected = format!("a divisor of init_channels, which is {channels}");
        let other = format!("a multiple of partial_channels, which is {partial}");
        return Some(Violation::new("partial_channels", partial, expected).or(Violation::new(
            "init_channels",
            channels,
            other,
        )));
    }
    let dropped = probability(edge_drop_path).is_some_and(|probability| !probability.is_zero());
    (partial > 1 && dropped).then(|| {
        let expected = format!("0 with partial_channels, which is {partial}: what passes by is not dropped");
        let other = format!("1 with the edge_drop_path {edge_drop_path}, which does not drop what passes by");
        Violation::new("edge_drop_path", edge_drop_path, expected).or(Violation::new(
            "partial_channels",
            partial,
            other,
        ))
    })
}

/// Partial channel connections of images whose sides the cells do not halve without a remainder: there the squares, of which
/// the maximum passes by, leave a pixel out, and the candidates do not. The last cells have sides that are `factor` times
/// smaller.
pub(super) fn partial_violation(
    partial: usize,
    [height, width]: [usize; 2],
    factor: usize,
) -> Option<Violation> {
    let halved = height.is_multiple_of(factor) && width.is_multiple_of(factor);
    (partial > 1 && !halved).then(|| {
        let expected = format!(
            "1 with images of {height}x{width} pixels: others take sides that are multiples of {factor}, which the cells halve"
        );
        Violation::new("partial_channels", partial, expected)
    })
}

#[cfg(test)]
mod tests {
    use toml::Table;

    use crate::data::{Dataset, Reading, Source};
    use crate::plan::keys::Preset;
    use crate::plan::merge::Written;
    use crate::plan::search::Plan;

    fn plan(flags: &str) -> crate::Result<Plan> {
        let mut flags: Table = flags.parse().unwrap();
        flags.insert("data".to_owned(), "digits".into());
        let written = Written { preset: Preset::Small, file: None, flags };
        written.plan::<Plan>(Table::new()).map(|given| given.plan)
    }

    fn refusal(flags: &str) -> String {
        plan(flags).unwrap_err().to_string()
    }

    #[test]
    fn channels_must_be_divided() {
        assert_eq!(
            refusal("partial_channels = 3"),
            "--partial-channels is 3; expected a divisor of init_channels, which is 8"
        );
        assert_eq!(
            refusal("method = \"pc-darts\"\ninit_channels = 6"),
            "--init-channels is 6; expected a multiple of partial_channels, which is 4"
        );
        assert_eq!(
            refusal("partial_channels = 4\nedge_drop_path = \"0.1\""),
            "--edge-drop-path is 0.1; expected 0 with partial_channels, which is 4: what passes by is not dropped"
        );
    }

    #[test]
    fn sides_must_be_halved_without_a_remainder() {
        let mut digits: Dataset =
            "digits".parse::<Source>().and_then(|source| source.load(0, &Reading::default(), &())).unwrap();
        let refused = |partial: usize, digits: &Dataset| {
            let plan = plan(&format!("partial_channels = {partial}")).unwrap();
            plan.violation_by_data(digits).map(|violation| crate::Error::from(violation).to_string())
        };
        assert_eq!(refused(4, &digits), None);
        (digits.train.height, digits.train.width) = (6, 8);
        let sentence = "partial_channels is 4; expected 1 with images of 6x8 pixels: others take sides that are multiples of 4, \
                        which the cells halve";
        assert!(refused(4, &digits).unwrap().contains(sentence), "{:?}", refused(4, &digits));
        assert_eq!(refused(1, &digits), None);
    }
}
