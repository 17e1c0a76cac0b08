//! Which connections are open, and which of them give way to new ones.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::options::most_of;

/// Bits of an address that one network has to itself: whoever has one address of IPv6 has all of its network.
const NETWORK_OF_V6: u128 = !(u64::MAX as u128);

/// Requests of a connection that are being answered.
pub type InProgress = Arc<AtomicUsize>;

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An address, or the network of one.
    Address(IpAddr),
    /// A user of this machine.
    User(u32),
    /// The system does not say.
    Unknown,
}

impl Peer {
    /// The one at an address.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            // This machine has many addresses of its own.
            address if address.is_loopback() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & NETWORK_OF_V6).into(),
            address => address,
        })
    }
}

/// Connections that are open: so many in all, of which one peer has three quarters at most. One more takes the place of the one
/// that has been idle for the longest time.
#[derive(Debug)]
pub struct Connections {
    max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    all: HashMap<u64, Arc<Seat>>,
    of_peers: HashMap<Peer, usize>,
}

/// What is known of an open connection.
#[derive(Debug)]
struct Seat {
    peer: Peer,
    in_progress: InProgress,
    /// When its last request was answered; before the first one, when it came.
    quiet_since: Mutex<Instant>,
    given_away: Notify,
}

/// The place of a connection. Given back when dropped.
#[derive(Debug)]
pub struct Entered {
    connections: Arc<Connections>,
    number: u64,
    seat: Arc<Seat>,
}

impl Connections {
    /// At most `max` at a time.
    pub(crate) fn new(max: usize) -> Self {
        Self { max, open: Mutex::default() }
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.lock().all.len()
    }

    /// A place for a connection; `None` if there is none and no idle connection has one.
    pub(crate) fn enter(self: &Arc<Self>, peer: Peer) -> Option<Entered> {
        let mut open = self.open.lock();
        let own = open.of_peers.get(&peer).copied().unwrap_or(0);
        // A peer that has its share makes no other one give way.
        if own >= most_of(self.max) {
            open.evict(Some(peer))?;
        } else if open.all.len() >= self.max {
            open.evict(None)?;
        }
        let number = open.next;
        open.next += 1;
        let seat = Arc::new(Seat {
            peer,
            in_progress: InProgress::default(),
            quiet_since: Mutex::new(Instant::now()),
            given_away: Notify::new(),
        });
        open.all.insert(number, seat.clone());
        *open.of_peers.entry(peer).or_default() += 1;
        Some(Entered { connections: self.clone(), number, seat })
    }
}

impl Open {
    /// Makes the connection give way that has been idle for the longest time, of a peer or of all.
    fn evict(&mut self, of: Option<Peer>) -> Option<()> {
        let is_idle = |seat: &Seat| seat.in_progress.load(Ordering::Acquire) == 0;
        let candidates = self.all.iter().filter(|(_, seat)| of.is_none_or(|peer| seat.peer == peer));
        let idle = candidates.filter(|(_, seat)| is_idle(seat));
        let (number, _) = idle.min_by_key(|(_, seat)| *seat.quiet_since.lock())?;
        let number = *number;
        let seat = self.remove(number)?;
        seat.given_away.notify_one();
        Some(())
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Seat>> {
        let seat = self.all.remove(&number)?;
        if let Some(count) = self.of_peers.get_mut(&seat.peer) {
            *count -= 1;
            if *count == 0 {
                self.of_peers.remove(&seat.peer);
            }
        }
        Some(seat)
    }
}

impl Entered {
    /// Counts the requests of the connection that are being answered.
    pub fn in_progress(&self) -> &InProgress {
        &self.seat.in_progress
    }

    /// A request is being answered, until what this returns is dropped.
    pub fn busy(&self) -> Busy {
        self.seat.in_progress.fetch_add(1, Ordering::AcqRel);
        Busy(self.seat.clone())
    }

    /// How long no request of the connection has been answered; zero while one is.
    pub fn quiet_for(&self) -> Duration {
        if self.seat.in_progress.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        self.seat.quiet_since.lock().elapsed()
    }

    /// Waits until the connection has to give way.
    pub(crate) async fn given_away(&self) {
        self.seat.given_away.notified().await;
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        // If it gave way, it is gone already.
        drop(self.connections.open.lock().remove(self.number));
    }
}

/// A request that is being answered, until the last byte of its body is with the connection.
#[derive(Debug)]
pub struct Busy(Arc<Seat>);

impl Drop for Busy {
    fn drop(&mut self) {
        *self.0.quiet_since.lock() = Instant::now();
        self.0.in_progress.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn peer(number: u8) -> Peer {
        Peer::at(IpAddr::from([10, 0, 0, number]))
    }

    fn is_given_away(entered: &Entered) -> bool {
        entered.given_away().now_or_never().is_some()
    }

    #[test]
    fn the_connection_that_is_idle_for_longest_gives_way() {
        let connections = Arc::new(Connections::new(4));
        let enter = |number| connections.enter(peer(number)).unwrap();
        let (first, second, third, other) = (enter(1), enter(1), enter(1), enter(2));
        let busy = first.busy();
        // The first one is older, and busy.
        let fourth = enter(1);
        assert!(!is_given_away(&first) && is_given_away(&second), "of the peer that has its share");
        let newcomer = enter(3);
        assert!(is_given_away(&third) && !is_given_away(&other), "of all, as all are full");
        drop((second, third));
        assert_eq!(connections.count(), 4, "those that gave way do not count twice");
        let all: Vec<Busy> = [&fourth, &other, &newcomer].map(Entered::busy).into();
        assert!(connections.enter(peer(4)).is_none(), "nobody is idle");
        drop(busy);
        drop(connections.enter(peer(4)).unwrap());
        assert!(is_given_away(&first));
        drop((all, first, fourth, other, newcomer));
        assert_eq!(connections.count(), 0);
        assert!(connections.open.lock().of_peers.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        let at = |text: &str| Peer::at(text.parse().unwrap());
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:1"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
        assert_eq!(at("::ffff:10.0.0.1"), peer(1));
        assert_ne!(peer(1), peer(2));
        assert_eq!(at("::1"), at("127.0.0.7"));
    }
}
