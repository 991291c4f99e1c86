//! Groups that have members, or had some lately, and when each of them is to be looked at.

use std::collections::{BTreeSet, HashMap};

use super::entry::Entry;
use super::group::{Group, Rules};
use super::member::Millis;
use super::offsets::LastGeneration;

/// Groups with members at a time.
const GROUPS_MAX: usize = 10_000;

/// What members say about themselves and are assigned, of all groups together.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// The groups.
#[derive(Debug, Default)]
pub(super) struct Roster {
    by_name: HashMap<String, Place>,
    alarms: BTreeSet<(Millis, String)>,
    bytes: usize,
}

#[derive(Debug)]
struct Place {
    group: Group,
    /// The generation that it began with here.
    first_generation: i32,
    bytes: usize,
    alarm: Option<Millis>,
}

/// What became of a group.
pub(super) struct Acted<T> {
    pub(super) result: T,
    /// What is to be written down of it.
    pub(super) entry: Option<Entry>,
}

impl Roster {
    pub(super) fn get(&self, name: &str) -> Option<&Group> {
        self.by_name.get(name).map(|place| &place.group)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Group)> {
        self.by_name.iter().map(|(name, place)| (&**name, &place.group))
    }

    /// Whether members may take this many bytes more.
    pub(super) const fn has_room(&self, bytes: usize) -> bool {
        self.bytes.saturating_add(bytes) <= BYTES_MAX
    }

    /// Has a group be there, which continues from its last generation; false if there are too many.
    pub(super) fn ensure(
        &mut self,
        name: &str,
        rules: Rules,
        last: impl FnOnce() -> Option<LastGeneration>,
    ) -> bool {
        if self.by_name.contains_key(name) {
            return true;
        }
        if self.by_name.len() >= GROUPS_MAX {
            return false;
        }
        let last = last();
        let first_generation = last.as_ref().map_or(0, |last| last.number);
        let group = Group::new(rules, first_generation, last.map(|last| last.protocol_type));
        let place = Place { group, first_generation, bytes: 0, alarm: None };
        self.by_name.insert(name.to_owned(), place);
        true
    }

    /// Does something to a group that is there.
    pub(super) fn act<T>(
        &mut self,
        name: &str,
        now_ms: i64,
        act: impl FnOnce(&mut Group) -> T,
    ) -> Option<Acted<T>> {
        let place = self.by_name.get_mut(name)?;
        let before = (place.group.generation(), place.group.is_empty());
        let result = act(&mut place.group);
        let group = &place.group;
        let entry = (before != (group.generation(), group.is_empty())).then(|| Entry::Generation {
            group: name.to_owned(),
            number: group.generation(),
            protocol_type: group.protocol_type().unwrap_or_default().to_owned(),
            empty_since: group.is_empty().then_some(now_ms),
        });
        let bytes = PLACE_BYTES + name.len() * 2 + group.size();
        self.bytes = self.bytes - place.bytes + bytes;
        place.bytes = bytes;
        let never_began = group.generation() == place.first_generation;
        if group.is_vacant() && never_began {
            self.remove(name);
        } else {
            self.set_alarm(name);
        }
        Some(Acted { result, entry })
    }

    pub(super) fn remove(&mut self, name: &str) {
        let Some(place) = self.by_name.remove(name) else { return };
        self.bytes -= place.bytes;
        if let Some(alarm) = place.alarm {
            self.alarms.remove(&(alarm, name.to_owned()));
        }
    }

    /// Members that are heard of put it off, which is not worth a change: an alarm may be early.
    fn set_alarm(&mut self, name: &str) {
        let Some(place) = self.by_name.get_mut(name) else { return };
        let Some(due) = place.group.next_deadline() else { return };
        if place.alarm.is_some_and(|alarm| alarm <= due) {
            return;
        }
        if let Some(alarm) = place.alarm.replace(due) {
            self.alarms.remove(&(alarm, name.to_owned()));
        }
        self.alarms.insert((due, name.to_owned()));
    }

    /// When the next group is to be looked at.
    pub(super) fn next_alarm(&self) -> Option<Millis> {
        self.alarms.first().map(|(due, _)| *due)
    }

    /// A group whose alarm has gone off.
    pub(super) fn take_alarm(&mut self, now: Millis) -> Option<String> {
        self.next_alarm().filter(|due| *due <= now)?;
        let (_, name) = self.alarms.pop_first()?;
        if let Some(place) = self.by_name.get_mut(&name) {
            place.alarm = None;
        }
        Some(name)
    }
}

/// What a group takes without its name and its members.
const PLACE_BYTES: usize = 512;
