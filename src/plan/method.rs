//! The keys of a search method: its name and its parts. The name decides the parts that the user did not write.

use toml::{Table, Value};

use super::keys::{Key, Preset, RATE, count, number, text, word};
use super::skips::{auxiliary_skip, skip_dropout};
use crate::method::edge_weights::EdgeWeights;
use crate::method::penalty::penalties;
use crate::method::perturbation::perturbation;
use crate::method::published::{all, find};
use crate::method::relaxation::relaxation;
use crate::method::schedule::probability;
use crate::method::selection::{Selection, selection};
use crate::method::stages::transitions;
use crate::method::step_order::StepOrder;

/// The keys that name a method and its parts.
pub(super) fn method() -> [Key; 15] {
    let names: Vec<_> = all().iter().map(|method| method.name.as_str()).collect();
    let meaning = format!(
        "Search method: {}. It decides the keys below that are not given, and with --preset paper others, too; `darts \
         methods` says what each does",
        names.join(", ")
    );
    [
        word("method", "NAME", &names, [names[0]; 2], &meaning).at("method.name"),
        text(
            "relaxation",
            "NAME",
            |text| relaxation(text).err(),
            ["softmax"; 2],
            "How alphas become mixing weights: softmax, dirichlet, sigmoid, \"gumbel TEMPERATURE\", \"gumbel-hard \
             TEMPERATURE\", or \"gumbel-hard-clean TEMPERATURE\", whose gradient leaves out what was not computed. Such a number is constant, or a schedule over the epochs: \"10 to 1\" falls towards 1, \
             \"10 through 1\" is 1 in the last epoch",
        )
        .at("method.relaxation"),
        text(
            "penalty",
            "NAME",
            |text| penalties(text).err(),
            ["none"; 2],
            "What is added to the loss of the alphas: none, \"zero-one WEIGHT\", \"logsumexp WEIGHT\", \"kl WEIGHT\", or several with \
             + between them; a weight is a schedule, too",
        )
        .at("method.penalty"),
        text(
            "perturbation",
            "NAME",
            |text| perturbation(text).err(),
            ["none"; 2],
            "What disturbs the mixing weights in a step of the weights: none, \"random SIZE\", or \"adversarial SIZE\", \
             which is up the loss; the size is a schedule, too",
        )
        .at("method.perturbation"),
        text(
            "edge_drop_path",
            "PROBABILITY",
            |text| match probability(text) {
                Some(_) => None,
                None => Some("a probability from 0 to below 1, or a schedule such as \"0 through 0.2\"".to_owned()),
            },
            ["0"; 2],
            "Probability that drop path drops what an edge of the supernet brings, for each image of a batch; a schedule, \
             too: \"0 through 0.2\" rises to 0.2 in the last epoch",
        )
        .at("method.edge_drop_path"),
        count(
            "partial_channels",
            1..=64,
            [1; 2],
            "One of so many channels of a state goes through the candidates of an edge, and the others pass them by, as in \
             PC-DARTS; 1 for all",
        )
        .at("method.partial_channels"),
        word(
            "edge_weights",
            "NAME",
            &EdgeWeights::ALL,
            [EdgeWeights::None; 2],
            "How the edges of a node are weighed: none, all alike; or softmax, by that of numbers which are learned as the \
             alphas are",
        )
        .at("method.edge_weights"),
        auxiliary_skip(),
        skip_dropout(),
        text(
            "selection",
            "NAME",
            |text| selection(text).err(),
            ["strongest"; 2],
            "How the genotype is found: strongest, by the alphas; \"restricted N\", by the alphas with at most N skip connections in \
             the normal cell, as P-DARTS does; \"sampled N\", the best of N genotypes drawn at random, one of which each pass goes \
             through, without alphas; or perturbation, which after the search decides edge after \
             edge by what the supernet loses on the validation half without a candidate (\"perturbation loss\" goes by the \
             loss instead of the accuracy)",
        )
        .at("method.selection"),
        count(
            "selection_interval",
            1..=100_000,
            [1, 5],
            "Epochs that go on from one choice of the selection perturbation to the next",
        )
        .at("method.selection_interval"),
        text(
            "stages",
            "TRANSITIONS",
            |text| transitions(text).err(),
            ["none"; 2],
            "Stages that share the epochs: none, or what each leaves to the next, such as \"keep 5 +6, keep 3 +12\": the best \
             candidates of each edge, and how many cells more than the first stage has; weights and alphas begin anew",
        )
        .at("method.stages"),
        word(
            "step_order",
            "ORDER",
            &StepOrder::ALL,
            [StepOrder::AlphasFirst; 2],
            "Which step of an iteration comes first: alphas_first or weights_first",
        )
        .at("method.step_order"),
        count("frozen_epochs", 0..=100_000, [0; 2], "Epochs at the start of a stage that train the weights alone")
            .at("method.frozen_epochs"),
        number("alpha_deviation", "NUMBER", RATE, [1e-3; 2], "Standard deviation of the initial alphas")
            .at("method.alpha_deviation"),
    ]
}

/// Fills in what the method decides, where the user wrote nothing. What its authors use belongs to the space of the paper: a
/// space with a plan of its own keeps that.
pub(super) fn complete_method(
    values: &mut Table,
    preset: Preset,
    own_space: bool,
    wrote: &dyn Fn(&str) -> bool,
) {
    let Some(method) = values.get("method").and_then(Value::as_str).and_then(find) else { return };
    let paper = (preset == Preset::Paper && !own_space).then_some(&method.paper);
    for (key, value) in std::iter::once(&method.plan).chain(paper).flatten() {
        if !wrote(key) {
            values.insert(key.clone(), value.clone());
        }
    }
    let text =
        |values: &Table, key: &str| values.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    if let (Some([frozen, of]), false) = (method.frozen, wrote("frozen_epochs")) {
        let count =
            1 + transitions(&text(values, "stages")).map_or(0, |transitions| transitions.len() as i64);
        let epochs = values.get("epochs").and_then(Value::as_integer).unwrap_or_default();
        // A number of epochs that cannot be is refused later.
        let frozen = (epochs / count).saturating_mul(frozen) / of;
        values.insert("frozen_epochs".to_owned(), Value::Integer(frozen));
    }
    // Where no alpha moves, there is nothing to guard.
    if let Ok(Selection::Sampled(_)) = selection(&text(values, "selection")) {
        for guard in
            ["guard_skips", "guard_ranking", "guard_entropy"].into_iter().filter(|guard| !wrote(guard))
        {
            values.insert(guard.to_owned(), "off".into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::method::published::Published;
    use crate::plan::PlanTable;
    use crate::plan::merge::Written;
    use crate::plan::search::Plan;

    fn plan_of(preset: Preset, flags: &str) -> crate::Result<Plan> {
        let mut flags: Table = flags.parse().unwrap();
        flags.entry("data").or_insert("digits".into());
        Ok(Written { preset, file: None, flags }.plan::<Plan>(Table::new())?.plan)
    }

    fn refusal(flags: &str) -> String {
        plan_of(Preset::Small, flags).unwrap_err().to_string()
    }

    #[test]
    fn each_published_method_is_a_plan_in_which_each_of_its_keys_stands() {
        for Published { name, plan: own, paper, .. } in all() {
            for preset in Preset::ALL {
                let plan = plan_of(preset, &format!("method = {name:?}")).unwrap();
                let values = plan.to_table().unwrap();
                let paper = (preset == Preset::Paper).then_some(paper);
                let own = own.iter().filter(|(key, _)| paper.is_none_or(|paper| !paper.contains_key(*key)));
                let keys = own.chain(paper.into_iter().flatten());
                keys.for_each(|(key, value)| assert_eq!(values.get(key), Some(value), "{name}: {key}"));
                let named = format!("data = \"digits\"\n[method]\nname = {name:?}");
                let read = Plan::from_toml(&named, Path::new("plan.toml")).unwrap();
                assert!(preset == Preset::Paper || read == plan, "{name}");
                let text = plan.to_toml().unwrap();
                assert_eq!(Plan::from_toml(&text, Path::new("plan.toml")).unwrap(), plan);
            }
        }
    }

    #[test]
    fn darts_is_the_method_that_changes_nothing() {
        assert_eq!(plan_of(Preset::Small, "").unwrap(), Plan::default());
        assert_eq!(find("darts").map(|darts| (darts.plan.len(), darts.paper.len())), Some((0, 0)));
    }

    #[test]
    fn what_the_user_wrote_stands() {
        let flags = "method = \"fair-darts\"\npenalty = \"none\"\nspace = \"darts\"\nbatch_size = 8";
        let plan = plan_of(Preset::Paper, flags).unwrap();
        assert_eq!((&*plan.relaxation, &*plan.penalty, &*plan.space), ("sigmoid", "none", "darts"));
        assert_eq!((plan.batch_size, plan.alpha_lr), (8, 0.003));
        let flags = "method = \"gdas\"\nfrozen_epochs = 3";
        let plan = plan_of(Preset::Small, flags).unwrap();
        assert_eq!((&*plan.relaxation, plan.frozen_epochs), ("gumbel-hard 10 through 0.1", 3));
        let frozen = |preset, flags: &str| {
            plan_of(preset, &format!("method = \"pc-darts\"\n{flags}")).unwrap().frozen_epochs
        };
        assert_eq!((frozen(Preset::Paper, ""), frozen(Preset::Small, "")), (15, 3));
        assert_eq!(frozen(Preset::Small, "epochs = 40\nstages = \"keep 5 +1\""), 6);
        assert_eq!((frozen(Preset::Small, "epochs = 1"), frozen(Preset::Paper, "frozen_epochs = 2")), (0, 2));
    }

    #[test]
    fn frozen_epochs_are_a_share_of_those_that_the_method_has() {
        let frozen = |preset, flags: &str| {
            plan_of(preset, &format!("method = \"p-darts\"\n{flags}")).unwrap().frozen_epochs
        };
        assert_eq!((frozen(Preset::Paper, ""), frozen(Preset::Small, "")), (10, 1));
        assert_eq!((frozen(Preset::Small, "epochs = 75"), frozen(Preset::Small, "epochs = 3")), (10, 0));
    }

    #[test]
    fn a_space_with_a_plan_of_its_own_keeps_it() {
        let plan = |method: &str| {
            plan_of(Preset::Paper, &format!("method = {method:?}\nspace = \"nas-bench-201\"")).unwrap()
        };
        let drnas = plan("drnas");
        assert_eq!((drnas.partial_channels, drnas.init_channels, drnas.batch_size), (1, 16, 64));
        assert_eq!((&drnas.relaxation[..], drnas.gradient_clip), ("dirichlet", 1e6));
        assert_eq!((plan("pc-darts").partial_channels, plan("pc-darts").frozen_epochs), (4, 30));
    }

    #[test]
    fn guards_are_off_where_no_alpha_moves() {
        let plan = plan_of(Preset::Small, "selection = \"sampled 5\"").unwrap();
        assert_eq!([&plan.guard_skips[..], &plan.guard_ranking, &plan.guard_entropy], ["off"; 3]);
    }

    #[test]
    fn parts_that_do_not_go_together_are_refused() {
        assert_eq!(
            refusal("penalty = \"zero-one 10\""),
            "--penalty is zero-one 10; expected none or logsumexp with softmax"
        );
        assert_eq!(
            refusal("penalty = \"kl 0.001\""),
            "--penalty is kl 0.001; expected none or logsumexp with softmax"
        );
        assert_eq!(
            refusal("method = \"drnas\"\npenalty = \"kl 0.001\"\nrelaxation = \"sigmoid\""),
            "--penalty is kl 0.001; expected none or logsumexp with sigmoid"
        );
        assert_eq!(
            refusal("method = \"fair-darts\"\nrelaxation = \"softmax\""),
            "--relaxation is softmax; expected sigmoid, the only one that zero-one drives to a decision"
        );
        assert_eq!(
            refusal("method = \"gdas\"\nperturbation = \"random 0.1\""),
            "--perturbation is random 0.1; expected none, as gumbel-hard 10 through 0.1 mixes nothing that could be \
             disturbed"
        );
        assert_eq!(
            refusal("method = \"sdarts-rs\"\norder = \"second\""),
            "--order is second; expected first with the perturbation random 0.03 to 0.3"
        );
        assert_eq!(
            refusal("method = \"gdas\"\norder = \"second\""),
            "--order is second; expected first with the relaxation gumbel-hard 10 through 0.1; gumbel-hard-clean goes with \
             each"
        );
        assert_eq!(
            refusal("weight_nesterov = true\norder = \"second\""),
            "--order is second; expected first with weight_nesterov: the look-ahead has no such momentum"
        );
        assert_eq!(
            refusal("frozen_epochs = 12"),
            "--frozen-epochs is 12; expected fewer than epochs, which is 12: otherwise the alphas never move"
        );
        assert_eq!(
            refusal("method = \"gdas\"\nselection = \"perturbation\""),
            "--selection is perturbation; expected strongest or restricted SKIPS with gumbel-hard 10 through 0.1, which draws \
             one candidate of an edge"
        );
        assert_eq!(
            refusal("stages = \"keep 5 +1, keep 3 +2\"\nepochs = 10"),
            "--epochs is 10; expected a multiple of 3, as the stages keep 5 +1, keep 3 +2 share them"
        );
        assert_eq!(
            refusal("stages = \"keep 8 +1\""),
            "--stages is keep 8 +1; expected fewer than 8 candidates kept at first, as an edge of the space darts has 8"
        );
        assert_eq!(
            refusal("stages = \"keep 2 +1\"\nspace = \"s2\""),
            "--stages is keep 2 +1; expected none, as an edge of the space s2 has 2 candidates, and a stage leaves two at \
             least"
        );
        assert_eq!(
            refusal("stages = \"keep 5 +1\"\nfrozen_epochs = 6"),
            "--frozen-epochs is 6; expected fewer than the epochs of a stage, which is 6: otherwise the alphas never move"
        );
        assert_eq!(
            refusal("method = \"darts-plus\"\nselection = \"perturbation\""),
            "--selection is perturbation; expected strongest with a guard that ends the search, stop 2"
        );
        assert_eq!(
            refusal("relaxation = \"gumbel\""),
            "--relaxation is gumbel; expected softmax, dirichlet, sigmoid, gumbel TEMPERATURE, gumbel-hard TEMPERATURE or \
             gumbel-hard-clean TEMPERATURE"
        );
    }
}
