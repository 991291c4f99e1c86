//! Why a group refuses, in its own words; the protocol's numbers are the handlers' affair.

/// Why a request to a group is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Offsets cannot be written down at the moment.
    Unavailable,
    /// No such member, or it has been removed; it may join anew.
    UnknownMember,
    /// The member shall join again, with the name that the answer gives it.
    MemberIdRequired,
    /// Another process has joined as the same static member since.
    FencedInstance,
    /// The generation is not the group's.
    IllegalGeneration,
    /// The group is being rebalanced; the member shall join again.
    RebalanceInProgress,
    /// There is no protocol that all members support.
    InconsistentProtocol,
    /// There are as many members, or as many bytes of theirs, as are kept.
    GroupFull,
    /// The group does not exist.
    UnknownGroup,
    /// The group has members.
    NonEmptyGroup,
    /// A member reads the topic whose offsets were to be deleted.
    SubscribedToTopic,
    /// There are as many groups, or as many bytes of offsets, as are kept.
    TooMuchKept,
}
