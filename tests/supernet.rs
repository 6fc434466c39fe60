//! The supernet against the official one: number, names and order of its weights.

use darts::autograd::Recorder;
use darts::backend::Shape;
use darts::backend::reference::Reference;
use darts::space::{EdgeShape, Space, Supernet, SupernetShape};

fn supernet(init_channels: usize, cells: usize, nodes: usize) -> Supernet {
    let shape = SupernetShape {
        space: Space::darts(),
        images: Shape::new(2, 8, 8, 3),
        classes: 10,
        init_channels,
        cells,
        nodes,
        edges: EdgeShape::default(),
    };
    Supernet::record(&mut Recorder::<Reference<f32>>::new(), shape).unwrap()
}

#[test]
fn the_supernet_of_the_paper_has_1_930_618_weights() {
    let supernet = supernet(16, 8, 4);
    assert_eq!(supernet.parameters.len(), 1_930_618);
    assert_eq!(supernet.mixing.value.len, 2 * 14 * 8);
    let rows = supernet.rows();
    assert_eq!((rows.len(), &rows[0], &rows[27]), (2 * 14, &(0..8), &(216..224)));
}

#[test]
fn weights_have_the_official_names_and_order() {
    let names: serde_json::Value = serde_json::from_str(include_str!("golden/data/names.json")).unwrap();
    for nodes in [2, 4] {
        let order = names[format!("n{nodes}")]["parameter_order"].as_array().unwrap();
        let expected: Vec<&str> = order.iter().map(|name| name.as_str().unwrap()).collect();
        let supernet = supernet(4, 3, nodes);
        let ours: Vec<&str> = supernet.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
        assert_eq!(ours, expected);
    }
}

#[test]
fn initial_values_depend_on_the_seed_alone() {
    let (one, other) = (supernet(4, 3, 2), supernet(4, 3, 2));
    assert_eq!(one.parameters.initial(5), other.parameters.initial(5));
    assert_ne!(one.parameters.initial(5), one.parameters.initial(6));
}

#[test]
fn impossible_supernets_are_refused_with_a_sentence() {
    let record = |cells, nodes| {
        let shape = SupernetShape {
            space: Space::darts(),
            images: Shape::new(2, 8, 8, 3),
            classes: 10,
            init_channels: 4,
            cells,
            nodes,
            edges: EdgeShape::default(),
        };
        Supernet::record(&mut Recorder::<Reference<f32>>::new(), shape).err().map(|error| error.to_string())
    };
    assert!(record(0, 4).is_some_and(|text| text.contains("0 cells")));
    assert!(record(3, 0).is_some_and(|text| text.contains("0 nodes")));
    assert!(record(1, 1).is_none());
}
