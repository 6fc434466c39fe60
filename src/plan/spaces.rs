//! What a plan of a space begins with, where that is not what a plan of the paper's space begins with.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use toml::{Table, Value};

use super::Command;
use super::keys::Preset;

/// By the name of the space, of the command, and of the preset.
type Defaults = BTreeMap<String, BTreeMap<String, BTreeMap<String, Table>>>;

static DEFAULTS: LazyLock<Defaults> = LazyLock::new(|| {
    let read = toml::from_str(include_str!("spaces.toml"));
    read.unwrap_or_else(|error| panic!("the defaults of this program's spaces: {error}"))
});

/// Fills in what the space decides, where the user wrote nothing; says whether it has a plan of its own.
pub(super) fn complete_for_space(
    values: &mut Table,
    command: Command,
    preset: Preset,
    wrote: &dyn Fn(&str) -> bool,
) -> bool {
    let Some(space) = values.get("space").and_then(Value::as_str) else { return false };
    let of_command = DEFAULTS.get(space).and_then(|commands| commands.get(command.name()));
    let Some(defaults) = of_command.and_then(|presets| presets.get(preset.name())) else { return false };
    // The look-ahead of the second order has no Nesterov momentum.
    let first = values.get("order").and_then(Value::as_str).is_none_or(|order| order == "first");
    for (key, value) in defaults.iter().filter(|(key, _)| !wrote(key) && (first || *key != "weight_nesterov"))
    {
        values.insert(key.clone(), value.clone());
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::PlanTable;
    use crate::plan::merge::Written;
    use crate::plan::{search, train};
    use crate::space::Space;

    fn plan_of<P: PlanTable>(preset: Preset, space: &str) -> Table {
        let flags = format!("data = \"digits\"\nspace = {space:?}").parse().unwrap();
        Written { preset, file: None, flags }.plan::<P>(Table::new()).unwrap().plan.to_table().unwrap()
    }

    #[test]
    fn each_space_has_plans_in_which_each_of_its_keys_stands() {
        for preset in Preset::ALL {
            for space in Space::known() {
                let plans = [
                    plan_of::<search::Plan>(preset, space.name()),
                    plan_of::<train::Plan>(preset, space.name()),
                ];
                for (plan, command) in plans.into_iter().zip([Command::Search, Command::Train]) {
                    let own = DEFAULTS.get(space.name()).and_then(|commands| commands.get(command.name()));
                    for (key, value) in
                        own.and_then(|presets| presets.get(preset.name())).into_iter().flatten()
                    {
                        assert_eq!(plan.get(key), Some(value), "{space}: {key}");
                    }
                }
            }
        }
        assert!(DEFAULTS.keys().all(|name| Space::named(name).is_some()));
    }

    #[test]
    fn what_is_written_stays_and_the_second_order_has_no_nesterov_momentum() {
        let flags =
            "data = \"digits\"\nspace = \"nas-bench-201\"\ncells = 6\norder = \"second\"".parse().unwrap();
        let written = Written { preset: Preset::Paper, file: None, flags };
        let plan = written.plan::<search::Plan>(Table::new()).unwrap().plan;
        assert_eq!((plan.cells, plan.weight_nesterov, plan.nodes), (6, false, 3));
    }
}
