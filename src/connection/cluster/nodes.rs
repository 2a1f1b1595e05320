//! The connections to the masters of a cluster, which replace the one connection to a single server.
//!
//! Each master that a request was routed to has a queue and, while it is used, a pipeline. A request is in one place at a time: a
//! queue, a pipeline, or the actor's list of requests to repeat. The loss of one node does not affect the others. The requests of a
//! lost node are sorted like the requests of a lost single connection, and wait for the node or its successor. When no node is left,
//! the whole connection counts as lost, and the actor starts again.
//!
//! The topology task learns of a `MOVED`, of a `CLUSTERDOWN`, and of a node that is lost, cannot be reached or does not answer. At
//! every turn the known topology is applied: requests go to the nodes of their slots, and the connections to nodes without slots are
//! closed.

use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::discovery::{AwaitedMap, Found, connect_to, find, slots_command};
use super::gather::{SentPart, gather};
use super::node::{Link, Node};
use super::route::{Part, Route, route};
use super::slots::{Redirect, SlotMap};
use crate::connection::candidates::within;
use crate::connection::command::Command;
use crate::connection::config::Config;
use crate::connection::core::Core;
use crate::connection::handshake::Greeted;
use crate::connection::pipeline::{Demand, Leftovers, Pipeline};
use crate::connection::request::{Destination, Request, Sink, timed_out};
use crate::connection::server_info::ServerInfo;
use crate::connection::target::Address;
use crate::connection::topology::MapUpdates;
use crate::crossing::batch;
use crate::error::{Error, ErrorKind, Result};
use crate::lifecycle;
use crate::resp::Reply;
use crate::telemetry::Metrics;

/// How many `MOVED` a request follows at once. After that it waits before each.
const HOPS: u8 = 5;
/// How long an unused connection to a node without slots is kept.
const UNUSED_LIMIT: Duration = Duration::from_secs(30);
/// How long a node that has lost its slots may still answer its requests. Later answers are ignored: the node may have stalled while
/// another node took its place.
const ANSWER_LIMIT: Duration = Duration::from_millis(200);
/// How long a node may leave a request unanswered before the topology is asked for its successor.
const STALLED_AFTER: Duration = Duration::from_secs(1);
/// The actor's pause before it repeats a request.
const LATER: Duration = Duration::from_millis(50);

pub(in crate::connection) struct Nodes {
    /// Weak, because the core indirectly owns this value.
    core: Weak<Core>,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    /// Takes the counts that users must not see: parts of requests, which are counted as whole requests, and requests for the slot
    /// map.
    uncounted: Arc<Metrics>,
    /// The known slot map; see [`Nodes::apply_map`].
    map: Arc<SlotMap>,
    updates: MapUpdates,
    members: Vec<Node>,
    /// The node for commands without a key, while it is up.
    home: Address,
    demands: Vec<Demand>,
    last_failure: Option<Error>,
}

impl Nodes {
    /// Opens the first connection to the cluster of `seeds`: to one of its masters.
    pub(in crate::connection) async fn open(core: &Arc<Core>, seeds: &[Address]) -> Result<(ServerInfo, Self)> {
        let found = find(core, seeds).await?;
        let server = found.greeted.server.clone();
        Ok((server, Self::new(core, found)))
    }

    fn new(core: &Arc<Core>, found: Found) -> Self {
        let now = Instant::now();
        let metrics = Arc::clone(&core.metrics);
        let pipeline = Pipeline::new(found.greeted, &core.config, Arc::clone(&metrics), now).in_cluster();
        let map = Arc::new(found.map);
        let updates = core.topology.map_updates();
        core.topology.learn(&map);
        let mut node = Node::new(found.address.clone(), now);
        node.link = Link::Up(Box::new(pipeline));
        Self {
            core: Arc::downgrade(core),
            config: Arc::new(core.config.clone()),
            metrics,
            uncounted: Arc::default(),
            map,
            updates,
            members: vec![node],
            home: found.address,
            demands: Vec::new(),
            last_failure: None,
        }
    }

    /// Accepts a request and routes it, in parts where needed.
    pub(in crate::connection) fn append(&mut self, mut request: Request) {
        request.routing.asking = false;
        if request.routing.destination.is_none() {
            match route(&request.command, &self.map) {
                Ok(Route::Whole(destination)) => request.routing.destination = Some(destination),
                Ok(Route::Parts(parts, merge)) => {
                    let sent = parts.into_iter().map(|part| self.send_part(&request, part)).collect();
                    lifecycle::spawn(gather(request, sent, merge));
                    return;
                }
                Err(error) => return request.settle(Err(error), Instant::now()),
            }
        }
        self.place(request);
    }

    fn send_part(&mut self, whole: &Request, part: Part) -> SentPart {
        let (sink, answer) = oneshot::channel();
        // Each part keeps the script. Only a call of the script can be answered with NOSCRIPT, so the other parts are not affected.
        let command = Command { payload: part.payload, replies: 1, ..whole.command.clone() };
        let mut request = Request::new(command, Sink::Waiter(sink), whole.accepted, Arc::clone(&self.uncounted));
        request.routing.destination = Some(part.destination);
        self.place(request);
        SentPart { answer, elements: part.elements }
    }

    /// Gives a request to the node of its destination.
    fn place(&mut self, request: Request) {
        let address = match &request.routing.destination {
            Some(Destination::Slot(slot)) => self.map.owner(*slot),
            Some(Destination::Master(address)) => {
                if !self.map.masters().contains(address) {
                    let error =
                        Error::new(ErrorKind::Connection, format!("{address} is not a master of the cluster now"));
                    return request.settle(Err(error), Instant::now());
                }
                Some(&**address)
            }
            Some(Destination::Node(address)) => Some(&**address),
            Some(Destination::Anywhere) | None => None,
        };
        // For a slot without a known owner any node will do: it answers CLUSTERDOWN or MOVED.
        let address = address.cloned().unwrap_or_else(|| self.home());
        self.give(&address, request);
    }

    /// The node for commands without a key. It stays the same while it is up, so that the order of these commands holds.
    fn home(&mut self) -> Address {
        let masters = self.map.masters();
        let is_master = |address: &Address| masters.contains(address);
        let up = |node: &&Node| matches!(node.link, Link::Up(_)) && is_master(&node.address);
        if !self.members.iter().filter(up).any(|node| node.address == self.home) {
            if let Some(node) = self.members.iter().find(up) {
                self.home = node.address.clone();
            } else if !is_master(&self.home)
                && let Some(master) = fastrand::choice(masters)
            {
                self.home = master.clone();
            }
        }
        self.home.clone()
    }

    fn give(&mut self, address: &Address, request: Request) {
        let now = Instant::now();
        let at = self.node_at(address, now);
        let node = &mut self.members[at];
        node.used = now;
        node.leaves_at = None;
        match &mut node.link {
            Link::Up(pipeline) if node.queue.is_empty() && pipeline.has_room() => pipeline.append(request),
            _ => node.enqueue(request),
        }
    }

    fn node_at(&mut self, address: &Address, now: Instant) -> usize {
        self.members.iter().position(|node| node.address == *address).unwrap_or_else(|| {
            self.members.push(Node::new(address.clone(), now));
            self.members.len() - 1
        })
    }

    /// Follows the received redirections. Returns the requests that must be repeated later.
    pub(in crate::connection) fn take_demands(&mut self) -> Vec<Demand> {
        batch(|| self.follow_redirections(Instant::now()));
        std::mem::take(&mut self.demands)
    }

    pub(in crate::connection) fn is_idle(&self) -> bool {
        self.demands.is_empty() && self.members.iter().all(Node::is_idle)
    }

    /// Writes at once as much as the streams take. False when something is left for the actor.
    pub(in crate::connection) fn try_write(&mut self) -> bool {
        let mut done = true;
        for node in &mut self.members {
            done &= match &mut node.link {
                Link::Up(pipeline) => node.queue.is_empty() && pipeline.try_write(),
                Link::Down(_) | Link::Opening(_) => node.queue.is_empty(),
            };
        }
        done
    }

    /// As [`Pipeline::take_budget_spent`], of any node.
    pub(in crate::connection) fn take_budget_spent(&mut self) -> bool {
        let mut budget_spent = false;
        for node in &mut self.members {
            if let Link::Up(pipeline) = &mut node.link {
                budget_spent |= pipeline.take_budget_spent();
            }
        }
        budget_spent
    }

    /// Reads, writes and connects on all nodes. Never fails: [`Nodes::maintain`] reports that no node is left.
    pub(in crate::connection) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        let mut progress = false;
        for at in 0..self.members.len() {
            match &mut self.members[at].link {
                Link::Down(_) => {}
                Link::Opening(opening) => {
                    if let Poll::Ready(outcome) = opening.as_mut().poll(cx) {
                        progress = true;
                        self.opened(at, outcome);
                    }
                }
                Link::Up(pipeline) => match pipeline.poll(cx) {
                    Poll::Pending => {}
                    Poll::Ready(Ok(())) => progress = true,
                    Poll::Ready(Err(error)) => {
                        progress = true;
                        self.lost(at, error);
                    }
                },
            }
        }
        if progress { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    fn opened(&mut self, at: usize, outcome: Result<Greeted>) {
        let now = Instant::now();
        let node = &mut self.members[at];
        match outcome {
            Ok(greeted) => {
                node.attempt = 0;
                node.missing = None;
                let pipeline = Pipeline::new(greeted, &self.config, Arc::clone(&self.metrics), now).in_cluster();
                node.link = Link::Up(Box::new(pipeline));
            }
            Err(error) => {
                node.link = Link::Down(now + self.config.reconnect.delay(node.attempt));
                node.attempt = node.attempt.saturating_add(1);
                self.failed(error);
            }
        }
    }

    /// Handles the loss of a node's connection: sends the repeatable requests again, and settles the others.
    fn lost(&mut self, at: usize, error: Error) {
        let now = Instant::now();
        let node = &mut self.members[at];
        let until = now + self.config.reconnect.delay(node.attempt);
        node.leaves_at = None;
        if let Link::Up(pipeline) = std::mem::replace(&mut node.link, Link::Down(until)) {
            node.missing = self.core.upgrade().map(|core| core.topology.missing());
            let again = pipeline.end().repeatable(&error, &self.metrics, now);
            self.failed(error);
            for request in again {
                self.append(request);
            }
        }
    }

    fn failed(&mut self, error: Error) {
        if let Some(core) = self.core.upgrade() {
            core.failed(&error);
        }
        self.last_failure = Some(error);
    }

    /// Asks up to `most` nodes for the slot map, on the open connections. Nodes that may be stalled come last.
    pub(in crate::connection) fn ask_map(&mut self, most: usize) -> Vec<AwaitedMap> {
        let now = Instant::now();
        let mut up: Vec<(bool, &Address, &mut Pipeline)> = Vec::with_capacity(self.members.len());
        for node in &mut self.members {
            if let Link::Up(pipeline) = &mut node.link
                && pipeline.has_room()
            {
                up.push((node.missing.is_some(), &node.address, pipeline));
            }
        }
        fastrand::shuffle(&mut up);
        up.sort_by_key(|(is_stalled, ..)| *is_stalled);
        let asked = up.into_iter().take(most).map(|(_, address, pipeline)| {
            let (sink, answer) = oneshot::channel();
            let mut request = Request::new(slots_command(), Sink::Waiter(sink), now, Arc::clone(&self.uncounted));
            request.routing.destination = Some(Destination::Anywhere);
            pipeline.append(request);
            AwaitedMap { address: address.clone(), answer }
        });
        asked.collect()
    }

    /// Applies the known slot map, if it is a new one. Waiting requests go to the current owners of their slots. A node that has lost
    /// its slots gets a time limit for its answers.
    fn apply_map(&mut self, now: Instant) {
        let Some(map) = self.updates.map() else { return };
        let before = std::mem::replace(&mut self.map, map);
        for node in &mut self.members {
            if before.masters().contains(&node.address) && !self.map.masters().contains(&node.address) {
                node.leaves_at = Some(now + ANSWER_LIMIT);
            }
        }
        let waiting: Vec<Request> = self.members.iter_mut().flat_map(|node| node.queue.drain(..)).collect();
        for request in waiting {
            self.append(request);
        }
    }

    /// Handles a request that the node `from` refused: sends it to another node, at once or later, while its deadline allows.
    fn elsewhere(&mut self, from: &Address, mut request: Request, line: Bytes, now: Instant) {
        self.metrics.resent_commands.add(1);
        match Redirect::read(&line, from) {
            Some(Redirect { address, ask: true, .. }) => {
                request.routing.asking = true;
                return self.give(&address, request);
            }
            Some(Redirect { slot, address, ask: false }) => {
                if let Some(core) = self.core.upgrade() {
                    core.topology.moved(slot, &address);
                    self.apply_map(now);
                }
                request.routing.hops = request.routing.hops.saturating_add(1);
                if request.routing.hops <= HOPS {
                    return self.append(request);
                }
            }
            None => {
                if let Some(core) = self.core.upgrade() {
                    core.topology.request_refresh();
                }
            }
        }
        if now + LATER >= request.deadline(self.config.command_timeout) {
            request.settle(Ok(Reply::Error(line)), now);
        } else {
            self.demands.push(Demand::Later(request));
        }
    }

    fn follow_redirections(&mut self, now: Instant) {
        for at in 0..self.members.len() {
            let Link::Up(pipeline) = &mut self.members[at].link else { continue };
            let demands = pipeline.take_demands();
            if demands.is_empty() {
                continue;
            }
            let from = self.members[at].address.clone();
            for demand in demands {
                match demand {
                    Demand::Elsewhere(request, line) => self.elsewhere(&from, request, line, now),
                    other => self.demands.push(other),
                }
            }
        }
    }

    /// Does what is due on every node. Returns when to look again.
    ///
    /// # Errors
    ///
    /// `connection` when no node is up and none is being connected to.
    pub(in crate::connection) fn maintain(&mut self, keep_alive: Duration, now: Instant) -> Result<Instant> {
        batch(|| self.apply_map(now));
        let mut next = now + keep_alive;
        for at in 0..self.members.len() {
            match self.maintain_node(at, keep_alive, now) {
                Ok(look_again) => next = look_again.map_or(next, |at| next.min(at)),
                Err(error) => batch(|| self.lost(at, error)),
            }
        }
        self.close_unused(now);
        if !self.members.iter().any(|node| !matches!(node.link, Link::Down(_))) {
            let error = Error::new(ErrorKind::Connection, "the connection was lost: no node of the cluster is left");
            return Err(match self.last_failure.take() {
                Some(cause) => error.caused_by(cause),
                None => error,
            });
        }
        Ok(next)
    }

    /// Does what is due on one node. Returns when to look again.
    ///
    /// # Errors
    ///
    /// `connection` when the node's connection is lost, or must be given up.
    fn maintain_node(&mut self, at: usize, keep_alive: Duration, now: Instant) -> Result<Option<Instant>> {
        let missing = || self.core.upgrade().map(|core| core.topology.missing());
        let node = &mut self.members[at];
        match &mut node.link {
            Link::Up(pipeline) => {
                if node.leaves_at.is_some_and(|at| at <= now) {
                    let message = format!("{} has no slots any more: its connection is given up", node.address);
                    return Err(Error::new(ErrorKind::Connection, message));
                }
                let look_again = pipeline.check_alive(keep_alive, now)?;
                while let Some(request) = node.queue.pop_front_if(|_| pipeline.has_room()) {
                    pipeline.append(request);
                }
                let stalled_at = pipeline.waiting_since().map(|since| since + STALLED_AFTER);
                if stalled_at.is_none_or(|at| at > now) {
                    node.missing = None;
                } else if node.missing.is_none() {
                    node.missing = missing();
                }
                let stalled_at = stalled_at.filter(|at| *at > now);
                Ok([Some(look_again), stalled_at, node.leaves_at].into_iter().flatten().min())
            }
            Link::Down(until) if !node.queue.is_empty() => {
                if *until > now {
                    return Ok(Some(*until));
                }
                if node.missing.is_none() {
                    node.missing = missing();
                }
                let (config, address) = (Arc::clone(&self.config), node.address.clone());
                node.link = Link::Opening(Box::pin(async move {
                    within(config.connect_timeout, connect_to(&config, &address)).await
                }));
                Ok(None)
            }
            Link::Down(_) | Link::Opening(_) => Ok(None),
        }
    }

    /// Removes the nodes that have no slots and are not used.
    fn close_unused(&mut self, now: Instant) {
        let map = &self.map;
        self.members.retain(|node| {
            let has_left = node.leaves_at.is_some() && node.is_idle();
            map.masters().contains(&node.address)
                || !node.is_idle()
                || (matches!(node.link, Link::Up(_))
                    && !has_left
                    && now.saturating_duration_since(node.used) < UNUSED_LIMIT)
        });
    }

    pub(in crate::connection) fn next_deadline(&self, timeout: Duration) -> Option<Instant> {
        let of_node = |node: &Node| {
            let queued = node.queue.front().map(|request| request.deadline(timeout));
            let sent = match &node.link {
                Link::Up(pipeline) => pipeline.next_deadline(timeout),
                Link::Down(_) | Link::Opening(_) => None,
            };
            [queued, sent].into_iter().flatten().min()
        };
        self.members.iter().filter_map(of_node).min()
    }

    pub(in crate::connection) fn expire(&mut self, timeout: Duration, now: Instant) {
        for node in &mut self.members {
            if let Link::Up(pipeline) = &mut node.link {
                pipeline.expire(timeout, now);
            }
            while let Some(request) = node.queue.pop_front_if(|request| request.deadline(timeout) <= now) {
                let error = timed_out(timeout, request.delivery_while_waiting());
                let error = match &self.last_failure {
                    Some(why) if !matches!(node.link, Link::Up(_)) => error.caused_by(why.clone()),
                    _ => error,
                };
                request.settle(Err(error), now);
            }
        }
    }

    pub(in crate::connection) fn end(self) -> Leftovers {
        let mut left = Leftovers { unsent: Vec::new(), unanswered: Vec::new() };
        for node in self.members {
            if let Link::Up(pipeline) = node.link {
                let of_node = pipeline.end();
                left.unsent.extend(of_node.unsent);
                left.unanswered.extend(of_node.unanswered);
            }
            left.unsent.extend(node.queue);
        }
        for demand in self.demands {
            let (Demand::Later(request) | Demand::Renew(request) | Demand::Elsewhere(request, _)) = demand;
            left.unsent.push(request);
        }
        left.unsent.sort_by_key(|request| request.accepted);
        left
    }

    pub(in crate::connection) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let mut pending = false;
        for node in &mut self.members {
            if let Link::Up(pipeline) = &mut node.link {
                // A failure of one node must not prevent the orderly end of the others.
                pending |= pipeline.poll_shutdown(cx).is_pending();
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}
