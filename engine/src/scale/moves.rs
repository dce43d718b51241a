//! Which partitions change their poller.

use crate::ids::Partition;

/// Gives each partition to the poller that has the fewest.
#[derive(Clone, Debug)]
pub struct Spread {
    /// Partitions of each poller.
    partitions: Vec<usize>,
}

impl Spread {
    /// Over pollers, at least one, that have so many `partitions` now.
    #[must_use]
    pub fn over(partitions: impl IntoIterator<Item = usize>) -> Self {
        Self { partitions: partitions.into_iter().collect() }
    }

    /// The poller for one partition more: of those with the fewest, the first.
    ///
    /// # Panics
    /// If there is no poller.
    pub fn lightest(&mut self) -> usize {
        let pollers = 0..self.partitions.len();
        let lightest = pollers.min_by_key(|&poller| self.partitions[poller]).expect("at least one poller");
        self.partitions[lightest] += 1;
        lightest
    }
}

/// The partitions that must leave their poller when the first `pollers` pollers share all of them,
/// so that afterwards none has two more than another: those of pollers that are no longer used, and
/// what others have too much. `routes` names each partition's poller.
///
/// Each is then given to whoever has the fewest ([`Spread`]). As few as possible move: moving one means to wait
/// for its invocation and to fetch its records again. Of a poller's partitions the last in `routes`
/// move first.
#[must_use]
pub fn surplus(routes: &[(Partition, usize)], pollers: usize) -> Vec<Partition> {
    let pollers = pollers.max(1);
    let mut counts = vec![0_usize; pollers];
    for &(_, poller) in routes {
        if let Some(count) = counts.get_mut(poller) {
            *count += 1;
        }
    }
    let (each, mut with_more) = (routes.len() / pollers, routes.len() % pollers);
    // Those that have most keep one more, if there are any to keep.
    let mut order: Vec<usize> = (0..pollers).collect();
    order.sort_by_key(|&poller| (std::cmp::Reverse(counts[poller]), poller));
    let mut keeps = vec![each; pollers];
    for poller in order {
        if with_more > 0 {
            keeps[poller] += 1;
            with_more -= 1;
        }
    }
    let mut kept = vec![0_usize; pollers];
    let mut surplus = Vec::new();
    for &(partition, poller) in routes {
        if poller < pollers && kept[poller] < keeps[poller] {
            kept[poller] += 1;
        } else {
            surplus.push(partition);
        }
    }
    surplus
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn routes(pollers: &[usize]) -> Vec<(Partition, usize)> {
        (0..).map(Partition).zip(pollers.iter().copied()).collect()
    }

    #[test]
    fn a_new_poller_is_given_what_others_have_too_much() {
        assert_eq!(surplus(&routes(&[0, 0, 0, 0]), 2), [Partition(2), Partition(3)]);
        assert_eq!(surplus(&routes(&[0, 1, 0, 1]), 4), [Partition(2), Partition(3)]);
        assert!(surplus(&routes(&[0, 1, 0, 1]), 2).is_empty());
    }

    #[test]
    fn pollers_that_are_no_longer_used_give_all() {
        assert_eq!(surplus(&routes(&[0, 1, 2, 2]), 2), [Partition(2), Partition(3)]);
        assert!(surplus(&[], 3).is_empty());
    }

    proptest! {
        #[test]
        fn after_the_moves_no_poller_has_two_more_than_another(
            from in prop::collection::vec(0_usize..12, 0..60),
            pollers in 1_usize..12,
        ) {
            let before = routes(&from);
            let moved = surplus(&before, pollers);
            let mut counts = vec![0_usize; pollers];
            for (partition, poller) in &before {
                if !moved.contains(partition) {
                    counts[*poller] += 1;
                }
            }
            let kept: usize = counts.iter().sum();
            prop_assert_eq!(kept + moved.len(), before.len());
            let mut spread = Spread::over(counts.iter().copied());
            for _ in &moved {
                counts[spread.lightest()] += 1;
            }
            let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
            prop_assert!(most - least <= 1, "{:?}", counts);
            // No way of sharing keeps more in place.
            let each = before.len() / pollers;
            let held: usize = (0..pollers)
                .map(|poller| from.iter().filter(|one| **one == poller).count().min(each))
                .sum();
            let richer = (0..pollers)
                .filter(|poller| from.iter().filter(|one| *one == poller).count() > each)
                .count()
                .min(before.len() % pollers);
            prop_assert_eq!(kept, held + richer);
        }
    }
}
