//! What goes to one destination from one turn, in order, with its weight.

/// What counts against the bound on what may wait at a destination.
pub trait Weighed {
    /// Bytes of memory that it keeps alive.
    fn weight(&self) -> usize;
}

/// Things for one destination, and bytes that they keep alive.
#[derive(Debug)]
pub struct Batch<T> {
    pub items: Vec<T>,
    /// By [`Weighed::weight`].
    pub weight: usize,
}

impl<T> Batch<T> {
    pub const fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl<T: Weighed> Batch<T> {
    pub fn push(&mut self, item: T) {
        self.weight += item.weight();
        self.items.push(item);
    }
}

impl<T> Default for Batch<T> {
    fn default() -> Self {
        Self { items: Vec::new(), weight: 0 }
    }
}

impl<T: Weighed> From<T> for Batch<T> {
    fn from(item: T) -> Self {
        Self { weight: item.weight(), items: vec![item] }
    }
}

impl<T: Weighed> FromIterator<T> for Batch<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut batch = Self::default();
        items.into_iter().for_each(|item| batch.push(item));
        batch
    }
}
