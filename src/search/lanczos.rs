//! The largest eigenvalue of a symmetric matrix that is known by its products with vectors (Lanczos, 1950), in f64.

use crate::Result;

/// An eigenvalue, and what it took to find it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Eigenvalue {
    /// The largest eigenvalue; negative where all are.
    pub value: f64,
    /// Products of the matrix with a vector.
    pub products: usize,
}

/// When the iteration ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accuracy {
    /// So many products at most.
    pub products: usize,
    /// Twice in succession a product changed the eigenvalue by at most this share of it.
    pub change: f64,
}

/// The largest eigenvalue of the symmetric matrix whose product with its first argument `product` leaves in its second. In
/// exact arithmetic, as many products as the matrix has different eigenvalues find it, unless `start` is orthogonal to its
/// vector. Each vector is made orthogonal to all before it, twice, so that rounding brings no eigenvalue in again.
///
/// # Errors
/// That of a product.
///
/// # Panics
/// If `start` is empty or zero.
pub fn largest_eigenvalue(
    start: &[f64],
    accuracy: Accuracy,
    mut product: impl FnMut(&[f64], &mut [f64]) -> Result<()>,
) -> Result<Eigenvalue> {
    let mut basis = vec![scaled(start, 1.0 / norm(start))];
    let (mut diagonal, mut beside) = (Vec::new(), Vec::new());
    let (mut value, mut steady) = (f64::NAN, 0);
    let mut next = vec![0.0; start.len()];
    while let Some(last) = basis.last() {
        product(last, &mut next)?;
        let size = norm(&next);
        diagonal.push(dot(last, &next));
        for vector in basis.iter().chain(&basis) {
            let share = dot(vector, &next);
            next.iter_mut().zip(vector).for_each(|(next, vector)| *next -= share * vector);
        }
        let before = std::mem::replace(&mut value, largest_of_tridiagonal(&diagonal, &beside));
        steady = if (value - before).abs() <= accuracy.change * value.abs() { steady + 1 } else { 0 };
        let rest = norm(&next);
        let spanned = rest <= size * f64::EPSILON * start.len() as f64 || basis.len() == start.len();
        if spanned || steady == 2 || basis.len() == accuracy.products {
            break;
        }
        beside.push(rest);
        basis.push(scaled(&next, 1.0 / rest));
    }
    Ok(Eigenvalue { value, products: basis.len() })
}

/// The largest eigenvalue of a symmetric tridiagonal matrix, by bisection.
fn largest_of_tridiagonal(diagonal: &[f64], beside: &[f64]) -> f64 {
    let beside = |row: usize| beside.get(row).map_or(0.0, |number| number.abs());
    // Gershgorin's circles hold all eigenvalues.
    let circle = |row: usize| beside(row) + row.checked_sub(1).map_or(0.0, beside);
    let mut low = diagonal.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut high = (0..diagonal.len()).map(|row| diagonal[row] + circle(row)).fold(low, f64::max);
    loop {
        let middle = f64::midpoint(low, high);
        if middle <= low || middle >= high {
            return high;
        }
        if all_below(diagonal, &beside, middle) { high = middle } else { low = middle }
    }
}

/// Whether all eigenvalues are below a number: whether all pivots of the matrix less the number are negative (Sylvester's
/// law of inertia).
fn all_below(diagonal: &[f64], beside: &dyn Fn(usize) -> f64, number: f64) -> bool {
    let mut pivot = f64::NEG_INFINITY;
    diagonal.iter().enumerate().all(|(row, entry)| {
        let above = row.checked_sub(1).map_or(0.0, beside);
        pivot = entry - number - above * above / pivot;
        pivot < 0.0
    })
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(one, other)| one * other).sum()
}

fn norm(vector: &[f64]) -> f64 {
    dot(vector, vector).sqrt()
}

fn scaled(vector: &[f64], factor: f64) -> Vec<f64> {
    vector.iter().map(|number| factor * number).collect()
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::random::{Stream, generator};

    const EXACT: Accuracy = Accuracy { products: 1000, change: 0.0 };

    /// The largest eigenvalue of `Q diag(values) Q'`, with Q a product of random reflections.
    fn found(values: &[f64], seed: u64, accuracy: Accuracy) -> Eigenvalue {
        let mut random = generator(seed, Stream::Test, 0);
        let mut draw = || (0..values.len()).map(|_| random.random_range(-1.0..1.0)).collect::<Vec<f64>>();
        let mirrors = [draw(), draw(), draw()];
        let reflect = |vector: &mut [f64], mirror: &[f64]| {
            let share = 2.0 * dot(vector, mirror) / dot(mirror, mirror);
            vector.iter_mut().zip(mirror).for_each(|(number, mirror)| *number -= share * mirror);
        };
        let start = draw();
        let product = |vector: &[f64], product: &mut [f64]| {
            product.copy_from_slice(vector);
            mirrors.iter().for_each(|mirror| reflect(product, mirror));
            product.iter_mut().zip(values).for_each(|(number, value)| *number *= value);
            mirrors.iter().rev().for_each(|mirror| reflect(product, mirror));
            Ok(())
        };
        largest_eigenvalue(&start, accuracy, product).unwrap()
    }

    #[test]
    fn the_largest_eigenvalue_is_found_and_not_that_of_the_largest_size() {
        let mut random = generator(1, Stream::Test, 1);
        for count in 1..40 {
            let mut values: Vec<f64> = (0..count).map(|_| random.random_range(-3.0..1.0)).collect();
            values[0] = -5.0;
            let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let Eigenvalue { value, products } = found(&values, count as u64, EXACT);
            assert!((value - largest).abs() < 1e-12, "{count}: {value} instead of {largest}");
            assert!(products <= count);
        }
    }

    #[test]
    fn few_products_are_enough_for_few_or_far_eigenvalues() {
        let mut values = vec![0.5; 200];
        values[7] = 2.0;
        let few = found(&values, 3, EXACT);
        assert!((few.value - 2.0).abs() < 1e-12 && few.products <= 4, "{few:?}");
        let far: Vec<f64> = (0..200).map(|place| 1.0 / f64::from(1 + place)).collect();
        let roughly = found(&far, 4, Accuracy { products: 30, change: 1e-3 });
        assert!((roughly.value - 1.0).abs() < 1e-3 && roughly.products < 15, "{roughly:?}");
        assert_eq!(found(&far, 4, Accuracy { products: 2, change: 0.0 }).products, 2);
    }

    #[test]
    fn an_error_of_a_product_ends_the_iteration() {
        let refused = |_: &[f64], _: &mut [f64]| Err(crate::Error::Device("gone".to_owned()));
        assert!(largest_eigenvalue(&[1.0, 0.0], EXACT, refused).is_err());
    }
}
