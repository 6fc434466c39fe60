use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::plan::{PlanTable, file, search, train};
use crate::space::Space;

const BOTH: [fn() -> &'static Keys; 2] = [search::Plan::keys, train::Plan::keys];

/// Values of a domain at its bounds, just inside, and those just outside with what is expected instead.
fn at_the_bounds(domain: &Domain) -> (Vec<Value>, Vec<(Value, String)>) {
    match domain {
        Domain::Count(range) => {
            let outside = [range.start().checked_sub(1), range.end().checked_add(1)];
            let expected = format!("a whole number from {} to {}", range.start(), range.end());
            let outside = outside.into_iter().flatten();
            let outside = outside.map(|count| (Value::from(count), expected.clone()));
            (vec![Value::from(*range.start()), Value::from(*range.end())], outside.collect())
        }
        Domain::Number(from, to) => {
            let (least, below) = match *from {
                Bound::Included(from) => (from, from.next_down()),
                Bound::Excluded(from) => (from.next_up(), from),
                Bound::Unbounded => (f64::MIN, f64::NAN),
            };
            let (most, above) = match *to {
                Bound::Included(to) => (to, to.next_up()),
                Bound::Excluded(to) => (to.next_down(), to),
                Bound::Unbounded => (f64::MAX, f64::NAN),
            };
            let outside = [below, above, f64::NAN, f64::INFINITY].map(Value::from);
            let outside = outside.map(|number| (number, "a number ".to_owned()));
            ([least, most].map(Value::from).into(), outside.into())
        }
        Domain::Word(words) => (words.iter().map(|word| Value::from(word.as_str())).collect(), Vec::new()),
        Domain::Space => {
            let unknown =
                (Value::from("s9"), "darts, s1, s2, s3, s5, nas-bench-201 or a file FILE.toml".to_owned());
            let defined = (Value::from("{}"), "the definition of a space: ".to_owned());
            (vec![Value::from("s1")], vec![unknown, defined])
        }
        Domain::Switch => ([true, false].map(Value::from).into(), Vec::new()),
        Domain::Text(expected) => {
            (Vec::new(), Vec::from_iter(expected("").map(|text| (Value::from(""), text))))
        }
    }
}

#[test]
fn no_two_keys_share_a_name_or_a_place() {
    for keys in BOTH {
        let places: Vec<_> =
            keys().0.iter().flat_map(|key| [Some(key.path), key.formerly]).flatten().collect();
        assert_eq!(BTreeSet::from_iter(&places).len(), places.len());
        let names: BTreeSet<_> = keys().0.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), keys().0.len());
        // A key is no table.
        assert!(keys().0.iter().all(|key| !keys().has_table(key.path)));
    }
}

#[test]
fn a_value_at_a_bound_is_taken_and_the_next_one_refused() {
    for keys in BOTH {
        for key in &keys().0 {
            let with = |value: &Value| {
                let mut values = keys().preset(Preset::Small);
                values.insert(key.name.to_owned(), value.clone());
                values
            };
            let (inside, outside) = at_the_bounds(&key.domain);
            for value in inside.iter().chain(&key.presets[..1]) {
                assert_eq!(keys().violation(&with(value)), None, "{value}");
                assert_eq!(&key.domain.read(value.clone()).unwrap(), value);
                assert_eq!(&key.domain.parse(&shown(value)).unwrap(), value, "{}", key.name);
                // Also as the text of a plan file.
                let read = file::read(keys(), &keys().to_toml(&with(value)), Path::new("plan.toml"));
                assert_eq!(read.unwrap(), with(value));
            }
            for (value, expected) in outside {
                let found = keys().violation(&with(&value)).unwrap();
                assert_eq!((found.key, found.value), (key.name, shown(&value)));
                assert!(found.expected.starts_with(&expected), "{}", found.expected);
            }
        }
    }
}

#[test]
fn a_value_of_another_kind_is_refused() {
    for key in BOTH.iter().flat_map(|keys| &keys().0) {
        let others = [Value::from("words"), Value::from(true), Value::from(vec![1]), Value::from(-1)];
        let refused = others.iter().filter(|value| key.domain.read((*value).clone()).is_err()).count();
        assert!(refused >= 3, "{}", key.name);
        let text = matches!(key.domain, Domain::Text(_) | Domain::Space);
        assert_eq!(key.domain.parse("words").is_ok(), text, "{}", key.name);
    }
}

#[test]
fn the_keys_of_a_plan_are_its_fields() {
    fn check<P: PlanTable + PartialEq + std::fmt::Debug>() {
        let names: BTreeSet<_> = P::keys().0.iter().map(|key| key.name.to_owned()).collect();
        for preset in Preset::ALL {
            let plan = P::preset(preset);
            let values = plan.to_table().unwrap();
            assert_eq!(values.keys().cloned().collect::<BTreeSet<_>>(), names);
            assert_eq!(values, P::keys().preset(preset));
            let read = file::read(P::keys(), &plan.to_toml().unwrap(), Path::new("plan.toml")).unwrap();
            assert_eq!(P::from_table(read).unwrap(), plan);
        }
        // What a field can hold is what its key can hold.
        for key in &P::keys().0 {
            for value in at_the_bounds(&key.domain).0 {
                let mut values = P::keys().preset(Preset::Small);
                values.insert(key.name.to_owned(), value);
                assert_eq!(P::from_table(values.clone()).unwrap().to_table().unwrap(), values);
            }
        }
    }
    check::<search::Plan>();
    check::<train::Plan>();
}

#[test]
fn the_help_tells_what_a_key_means_and_its_presets() {
    for key in BOTH.iter().flat_map(|keys| &keys().0) {
        let help = key.help();
        assert!(help.starts_with(&key.meaning) && !key.meaning.ends_with('.'), "{help}");
        let told = |preset: &str, value: &Value| help.contains(&format!("{preset}: {}", shown(value)));
        let [small, paper] = &key.presets;
        let both = told("small", small) && (told("paper", paper) || paper.as_str() == Some(""));
        assert!(both || small == paper && help.contains("[default: "), "{help}");
    }
}

#[test]
fn a_beginning_that_lacks_a_later_key_has_its_small_value() {
    let keys = search::Plan::keys();
    let given = keys.preset(Preset::Small);
    let mut begun = given.clone();
    assert!(begun.remove("finite_difference").is_some() && begun.remove("method").is_some());
    begun.insert("threads".into(), Value::from(7));
    assert_eq!(keys.contradiction(&given, &begun), None);
    let found = |given: &Table, begun: &Table| {
        let of = keys.contradiction(given, begun).unwrap();
        (of.key, of.given, of.begun)
    };
    let mut other = given.clone();
    other.insert("finite_difference".into(), Value::from(0.5));
    assert_eq!(found(&other, &begun), ("finite_difference".into(), "0.5".into(), "0.01".into()));
    begun.insert("later".into(), Value::from(true));
    assert_eq!(found(&given, &begun), ("later".into(), "absent".into(), "true".into()));
}

#[test]
fn a_space_written_otherwise_is_the_same() {
    let contradiction = |given: &str, begun: &str| {
        let [given, begun] =
            [given, begun].map(|space| Table::from_iter([("space".to_owned(), space.into())]));
        let found = search::Plan::keys().contradiction(&given, &begun);
        found.map(|found| [found.given, found.begun])
    };
    let own = r#"{"name": "own", "candidates": ["none", "skip_connect"]}"#;
    let same = r#"{ "nodes": 4, "candidates": ["none", "skip_connect"], "edges_kept": 2, "name": "own" }"#;
    let other = r#"{"name": "own", "candidates": ["none", "skip_connect"], "nodes": 3}"#;
    let darts = serde_json::to_string(Space::darts().definition()).unwrap();
    assert_eq!([contradiction(same, own), contradiction("darts", &darts)], [None, None]);
    assert_eq!(contradiction("s2", own).unwrap(), ["\"s2\"", "the space own"]);
    assert_eq!(contradiction(other, own).unwrap(), ["another than the space own", "the space own"]);
}
