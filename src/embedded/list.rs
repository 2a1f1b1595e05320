//! A list, which keeps count of the bytes of its elements.

use std::collections::VecDeque;
use std::ops::Deref;

use super::bytes::Bytes;

#[derive(Debug, Clone, Default)]
pub(super) struct List {
    items: VecDeque<Bytes>,
    bytes: usize,
}

impl Deref for List {
    type Target = VecDeque<Bytes>;

    fn deref(&self) -> &VecDeque<Bytes> {
        &self.items
    }
}

impl FromIterator<Bytes> for List {
    fn from_iter<I: IntoIterator<Item = Bytes>>(items: I) -> Self {
        let items: VecDeque<Bytes> = items.into_iter().collect();
        let bytes = items.iter().map(|item| item.len()).sum();
        List { items, bytes }
    }
}

impl List {
    pub(super) fn push_front(&mut self, item: Bytes) {
        self.bytes += item.len();
        self.items.push_front(item);
    }

    pub(super) fn push_back(&mut self, item: Bytes) {
        self.bytes += item.len();
        self.items.push_back(item);
    }

    pub(super) fn pop_front(&mut self) -> Option<Bytes> {
        self.items.pop_front().inspect(|item| self.bytes -= item.len())
    }

    pub(super) fn pop_back(&mut self) -> Option<Bytes> {
        self.items.pop_back().inspect(|item| self.bytes -= item.len())
    }

    pub(super) fn insert(&mut self, at: usize, item: Bytes) {
        self.bytes += item.len();
        self.items.insert(at, item);
    }

    pub(super) fn set(&mut self, at: usize, item: Bytes) {
        if let Some(old) = self.items.get_mut(at) {
            self.bytes = self.bytes - old.len() + item.len();
            *old = item;
        }
    }

    /// Keeps the elements in `range`, which must be within the list.
    pub(super) fn keep_range(&mut self, range: std::ops::Range<usize>) {
        let gone = self.items.drain(range.end..).map(|item| item.len()).sum::<usize>();
        self.bytes -= gone + self.items.drain(..range.start).map(|item| item.len()).sum::<usize>();
    }

    /// Keeps the elements for which `keep` is true. `keep` is called from the tail to the head if `backwards`.
    pub(super) fn retain(&mut self, backwards: bool, mut keep: impl FnMut(&Bytes) -> bool) {
        if backwards {
            self.items.make_contiguous().reverse();
        }
        let bytes = &mut self.bytes;
        self.items.retain(|item| {
            let stays = keep(item);
            *bytes -= if stays { 0 } else { item.len() };
            stays
        });
        if backwards {
            self.items.make_contiguous().reverse();
        }
    }

    /// An estimate of the memory held.
    pub(super) fn size(&self) -> usize {
        32 + self.bytes + self.items.len() * 24
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_bytes_is_right_after_every_change() {
        let item = |len: usize| vec![b'x'; len].into_boxed_slice();
        let mut list: List = [1, 2, 3].map(item).into_iter().collect();
        let counted = |list: &List| 32 + list.iter().map(|item| item.len() + 24).sum::<usize>();
        list.push_front(item(10));
        list.push_back(item(20));
        list.insert(2, item(1_000));
        assert_eq!((list.len(), list.size()), (6, counted(&list)));
        list.set(2, item(5));
        assert_eq!(list.pop_front().map(|item| item.len()), Some(10));
        assert_eq!(list.pop_back().map(|item| item.len()), Some(20));
        assert_eq!(list.iter().map(|item| item.len()).collect::<Vec<_>>(), [1, 5, 2, 3]);
        assert_eq!(list.size(), counted(&list));
        let mut left = 1;
        list.retain(true, |item| {
            let goes = item.len() < 4 && left > 0;
            left -= usize::from(goes);
            !goes
        });
        assert_eq!(list.iter().map(|item| item.len()).collect::<Vec<_>>(), [1, 5, 2]);
        list.keep_range(1..2);
        assert_eq!((list.len(), list.size()), (1, counted(&list)));
        list.keep_range(0..0);
        assert_eq!(list.size(), 32);
    }
}
