//! Who is let in, of those that the socket's mode lets connect.

use pillion_ipc::PeerCredentials;

/// Users and groups that are let in; if both lists are empty, everyone is.
#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    pub(super) uids: Vec<u32>,
    pub(super) gids: Vec<u32>,
}

impl Access {
    /// Whether to let in the process at the other end. Decides by its user and all of its groups, never by the
    /// process: its number may belong to another process by the time it is looked up.
    pub(super) fn lets_in(&self, peer: &PeerCredentials) -> bool {
        let everyone = self.uids.is_empty() && self.gids.is_empty();
        everyone || self.uids.contains(&peer.uid) || self.gids.iter().any(|gid| peer.has_group(*gid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_let_in_by_number_and_by_any_of_their_groups() {
        let peer = PeerCredentials { uid: 1000, gid: 100, groups: vec![2000, 3000] };
        let lets_in =
            |uids: &[u32], gids: &[u32]| Access { uids: uids.to_vec(), gids: gids.to_vec() }.lets_in(&peer);
        assert!(lets_in(&[], &[]), "nobody is named");
        assert!(lets_in(&[5, 1000], &[]));
        assert!(lets_in(&[5], &[100]), "the primary group");
        assert!(lets_in(&[], &[3000]), "a supplementary group");
        assert!(!lets_in(&[5], &[]));
        assert!(!lets_in(&[], &[4000]));
        assert!(!lets_in(&[2000], &[1000]), "a user is no group");
        let root = PeerCredentials { uid: 0, gid: 0, groups: vec![] };
        assert!(!Access { uids: vec![1000], gids: vec![] }.lets_in(&root), "root must be named too");
    }
}
