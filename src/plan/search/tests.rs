use std::path::Path;

use super::*;
use crate::data::Source;

fn read(text: &str) -> Result<Plan> {
    Plan::from_toml(text, Path::new("some.toml"))
}

fn refusal(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

#[test]
fn a_plan_comes_back_exactly() {
    let plan = Plan {
        order: Order::Second,
        seed: i64::MAX as u64,
        weight_lr: 0.1 + 0.2,
        weight_lr_min: 5e-324,
        weight_decay: 0.0,
        alpha_lr: 1.0,
        ..Plan::default()
    };
    assert_eq!(read(&plan.to_toml().unwrap()).unwrap(), plan);
    assert_eq!(read("").unwrap(), Plan::default());
    assert_eq!(read("alpha_lr = 1").unwrap().alpha_lr, 1.0);
}

#[test]
fn the_paper_leaves_the_data_set_open() {
    let refused = Plan::paper().validate().unwrap_err().to_string();
    assert_eq!(refused, "plan: data is empty; expected the name of a data set, such as digits");
    assert!(Plan { data: "digits".into(), ..Plan::paper() }.validate().is_ok());
}

#[test]
fn the_keys_of_the_method_stand_in_a_table_of_their_own() {
    let plan = Plan { order: Order::Second, finite_difference: 0.5, ..Plan::default() };
    let text = plan.to_toml().unwrap();
    let method = "\n[method]\nname = \"darts\"\nrelaxation = \"softmax\"\npenalty = \"none\"\n\
                  perturbation = \"none\"\nedge_drop_path = \"0\"\npartial_channels = 1\nedge_weights = \"none\"\nauxiliary_skip = \"0\"\nskip_dropout = \"0\"\nselection = \"strongest\"\nselection_interval = 1\nstages = \"none\"\nstep_order = \"alphas_first\"\nfrozen_epochs = 0\nalpha_deviation = 0.001\n\
                  order = \"second\"\nfinite_difference = 0.5\n";
    assert!(text.contains(method), "{text}");
    assert_eq!(read("method.order = 'second'\nmethod.finite_difference = 0.5").unwrap(), plan);
    // The plans of version 0.1.0 have no such table.
    let (plain, _) = text.split_once(method).unwrap();
    let text = format!("{plain}order = \"second\"\n");
    assert_eq!(read(&text).unwrap(), Plan { finite_difference: 0.01, ..plan });
    let twice = refusal("order = \"first\"\n[method]\norder = \"first\"");
    assert_eq!(twice, "plan: some.toml, line 3, key method.order: method.order stands in the file twice");
    let refused = refusal("\n[method]\norders = 1");
    assert!(refused.starts_with("plan: some.toml, line 3, key method.orders: unknown field"), "{refused}");
    assert!(refused.contains("`method.order`"), "{refused}");
    assert!(refusal("method = \"darts\"").contains("key method: it is a table of the plan, [method]"));
    assert!(refusal("[epochs]\na = 1").contains("key epochs: invalid type: table"));
    assert!(refusal("[method]\nfinite_difference = 2").contains("expected a number above 0 to 1"),);
}

#[test]
fn errors_name_file_line_and_key() {
    assert!(refusal("cells = 3\nepoch = 5").starts_with("plan: some.toml, line 2, key epoch: unknown field"));
    let refused = refusal("# comment\n\nepochs = \"many\"");
    assert!(refused.starts_with("plan: some.toml, line 3, key epochs: invalid type"), "{refused}");
    assert!(refused.ends_with("expected a whole number"), "{refused}");
    assert!(refusal("epochs = -1").contains("line 1, key epochs: "));
    assert!(refusal("order = \"third\"").contains("line 1, key order: unknown word `third`"));
    assert!(refusal("cells = ").contains("some.toml, line 1, key cells"));
    assert!(refusal("cells = 1\ncells = 2").contains("line 2"));
}

#[test]
fn impossible_values_are_refused_with_what_is_allowed() {
    assert_eq!(refusal("epochs = 0"), "plan: epochs is 0; expected a whole number from 1 to 100000");
    assert!(refusal("cells = 101").contains("cells is 101; expected a whole number from 1 to 100"));
    assert!(refusal("nodes = 17").contains("from 1 to 16"));
    assert!(refusal("precision = \"bf16\"\ndevice = \"cpu\"").contains("precision is bf16; expected f32"));
    assert!(refusal("weight_lr = nan").contains("weight_lr is NaN"));
    assert!(refusal("alpha_lr = -inf").contains("alpha_lr is -inf"));
    assert!(refusal("alpha_beta2 = 1.0").contains("alpha_beta2 is 1; expected a number from 0 to below 1"));
    assert!(refusal("weight_lr = 0.0001").contains("at most weight_lr, which is 0.0001"));
}

#[test]
fn flips_are_those_of_the_data_set_unless_the_plan_says_otherwise() {
    let customary = |flip| Augmentation { crop_padding: 4, flip, cutout: None };
    let flips = |text: &str, flip| read(text).unwrap().augmentation(customary(flip));
    for flip in [true, false] {
        assert_eq!(flips("", flip), customary(flip));
        assert_eq!(flips("flip = \"auto\"", flip), customary(flip));
        assert_eq!(flips("crop_padding = \"auto\"", flip).crop_padding, 4);
        assert_eq!(flips("crop_padding = \"0\"", flip), Augmentation { crop_padding: 0, ..customary(flip) });
        assert_eq!(flips("crop_padding = \"9\"", flip).crop_padding, 9);
        assert_eq!(flips("flip = true", flip), customary(true));
        assert_eq!(flips("flip = \"false\"", flip), customary(false));
    }
    for wrong in ["some", "-1", "1025", ""] {
        let refusal = refusal(&format!("crop_padding = {wrong:?}"));
        assert!(refusal.contains("expected auto or a whole number from 0 to 1024"), "{refusal}");
    }
    let digits = "digits".parse::<Source>().unwrap();
    let digits = digits.load(0, &Reading::default(), &()).unwrap();
    let padded = |pixels: &str| {
        let violation = Plan { crop_padding: pixels.into(), ..Plan::default() }.violation_by_data(&digits);
        violation.map(|found| found.to_string())
    };
    assert_eq!([padded("auto"), padded("7")], [None, None]);
    let wide = "crop_padding is 8; expected less than 8, the side of an image of digits";
    assert_eq!(padded("8").as_deref(), Some(wide));
    assert!(refusal("flip = 1").contains("expected `auto`, `true` or `false`"), "{}", refusal("flip = 1"));
}

#[test]
fn a_batch_must_fit_into_half_the_data() {
    let digits = "digits".parse::<Source>().unwrap().load(0, &Reading::default(), &()).unwrap();
    let told = |batch_size, train_images| {
        let found = Plan { batch_size, train_images, ..Plan::default() }.violation_by_data(&digits);
        found.map(|found| (found.to_string(), found.other.map(|other| other.to_string())))
    };
    let alone = |text: &str| Some((text.to_owned(), None));
    assert_eq!([told(719, 0), told(719, 1438), told(50, 100), told(5, 10)], [const { None }; 4]);
    let expected = "batch_size is 720; expected at most 719, half of the training images of digits";
    assert_eq!(told(720, 0), alone(expected));
    let expected = "train_images is 1439; expected at most 1438, the training images of digits; 0 takes all";
    assert_eq!(told(32, 1439), alone(expected));
    let expected = "train_images is 9; expected at least 10, one of each class of digits; 0 takes all";
    assert_eq!(told(1, 9), alone(expected));
    let own = "batch_size is 51; expected at most 50, half of the images that train_images takes of digits";
    let other = "train_images is 100; expected at least 102, a batch of each half; 0 takes all";
    assert_eq!(told(51, 100), Some((own.to_owned(), Some(other.to_owned()))));
}
