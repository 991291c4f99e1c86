//! A heap that orders equals as Go's `container/heap` does.
//!
//! Which of two blocks' samples of one time Prometheus prints depends on it: whatever comes out
//! first wins. Rust's own heap would choose others.
//!
//! Source: Go 1.26, `container/heap/heap.go`: `Push`, `Pop`, `up`, `down`.

/// Items of which the least comes out first, as `is_less` has it.
#[derive(Debug, Default)]
pub(super) struct Heap {
    items: Vec<usize>,
}

impl Heap {
    pub(super) fn first(&self) -> Option<usize> {
        self.items.first().copied()
    }

    pub(super) fn push(&mut self, item: usize, is_less: impl Fn(usize, usize) -> bool) {
        self.items.push(item);
        let mut at = self.items.len() - 1;
        while at > 0 {
            let parent = (at - 1) / 2;
            if !is_less(self.items[at], self.items[parent]) {
                break;
            }
            self.items.swap(at, parent);
            at = parent;
        }
    }

    pub(super) fn pop(&mut self, is_less: impl Fn(usize, usize) -> bool) -> Option<usize> {
        let last = self.items.len().checked_sub(1)?;
        self.items.swap(0, last);
        let item = self.items.pop();
        let mut at = 0;
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            if left >= last {
                break;
            }
            let is_right = right < last && is_less(self.items[right], self.items[left]);
            let child = if is_right { right } else { left };
            if !is_less(self.items[child], self.items[at]) {
                break;
            }
            self.items.swap(at, child);
            at = child;
        }
        item
    }
}
