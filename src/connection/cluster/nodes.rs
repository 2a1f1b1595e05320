//! The connections to the masters of a cluster. They stand in place of the one connection to a single server.
//!
//! Each master that a request was routed to has a queue and, while it is used, a pipeline. A request is in one place at a time:
//! a queue, a pipeline, or the actor's list of requests to repeat. The loss of one node does not touch the others. The requests of a
//! lost node are sorted like those of a lost single connection, and wait for the node or its successor. When no node is left,
//! the whole connection is lost, and the actor starts again.
//!
//! The topology task is told of a `MOVED`, of a `CLUSTERDOWN`, and of a node that is lost, cannot be reached or does not answer.
//! At every turn the known topology is applied: requests go to the nodes of their slots, and nodes without slots are closed.

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
use crate::connection::topology::News;
use crate::crossing::batch;
use crate::error::{Error, ErrorKind, Result};
use crate::lifecycle;
use crate::resp::Reply;
use crate::telemetry::Metrics;

/// How many `MOVED` a request follows at once; from then on it waits before each.
const HOPS: u8 = 5;
/// How long the connection to a node that owns no slot is kept unused.
const RETIREMENT: Duration = Duration::from_secs(30);
/// The time that a node without slots has to answer the requests that were sent to it. Later answers are ignored: the node may have
/// stood still while another node took its place.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long a node may leave a request unanswered before its successor is looked for.
const STANDS_STILL: Duration = Duration::from_secs(1);
/// The actor's pause before it repeats a request.
const LATER: Duration = Duration::from_millis(50);

pub(in crate::connection) struct Nodes {
    /// Weak: what is shared owns this.
    core: Weak<Core>,
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    /// Counts the parts of requests, which are counted as wholes, and what nobody asked for.
    uncounted: Arc<Metrics>,
    /// As it is known to all; see [`Nodes::take_in`].
    map: Arc<SlotMap>,
    news: News,
    members: Vec<Node>,
    /// Where commands without a key go, while it is up.
    home: Address,
    demands: Vec<Demand>,
    last_failure: Option<Error>,
}

impl Nodes {
    /// The connections to the cluster of `seeds`: for now, one to a master.
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
        let news = core.topology.news();
        core.topology.learn(&map);
        let mut node = Node::new(found.address.clone(), now);
        node.link = Link::Up(Box::new(pipeline));
        Self {
            core: Arc::downgrade(core),
            config: Arc::new(core.config.clone()),
            metrics,
            uncounted: Arc::default(),
            map,
            news,
            members: vec![node],
            home: found.address,
            demands: Vec::new(),
            last_failure: None,
        }
    }

    /// Takes a request in: routes it, in parts if it must be.
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
        // Only a call of a script can be answered with NOSCRIPT, so it does no harm at the other parts.
        let command = Command { payload: part.payload, replies: 1, ..whole.command.clone() };
        let mut request = Request::new(command, Sink::Waiter(sink), whole.accepted, Arc::clone(&self.uncounted));
        request.routing.destination = Some(part.destination);
        self.place(request);
        SentPart { answer, elements: part.elements }
    }

    /// Puts a request to the node it belongs to.
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
        // The slot of nobody goes anywhere: the node says CLUSTERDOWN, or where it is.
        let address = address.cloned().unwrap_or_else(|| self.home());
        self.give(&address, request);
    }

    /// Where commands without a key go: one node as long as it is up, so that their order holds.
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

    /// Follows every redirection that has come; gives what is to be repeated later.
    pub(in crate::connection) fn take_demands(&mut self) -> Vec<Demand> {
        batch(|| self.follow_redirections(Instant::now()));
        std::mem::take(&mut self.demands)
    }

    pub(in crate::connection) fn is_idle(&self) -> bool {
        self.demands.is_empty() && self.members.iter().all(Node::is_idle)
    }

    /// Writes at once what the streams take. False when there is something left to do for the actor.
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

    /// As [`Pipeline::take_sated`], of any node.
    pub(in crate::connection) fn take_sated(&mut self) -> bool {
        let mut sated = false;
        for node in &mut self.members {
            if let Link::Up(pipeline) = &mut node.link {
                sated |= pipeline.take_sated();
            }
        }
        sated
    }

    /// Moves on whatever can be: reads, writes, connects. Never lost by itself: see [`Nodes::tend`].
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

    /// A node's connection broke: what is certainly or harmlessly repeatable goes again, the rest is answered.
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

    /// Asks up to `most` nodes for the slot map, over connections that are up; those that may stand still last.
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
        up.sort_by_key(|(stands_still, ..)| *stands_still);
        let asked = up.into_iter().take(most).map(|(_, address, pipeline)| {
            let (sink, answer) = oneshot::channel();
            let mut request = Request::new(slots_command(), Sink::Waiter(sink), now, Arc::clone(&self.uncounted));
            request.routing.destination = Some(Destination::Anywhere);
            pipeline.append(request);
            AwaitedMap { address: address.clone(), answer }
        });
        asked.collect()
    }

    /// Takes in the map that is known, if it is a new one: what waits for a node goes to whoever owns its slot now, and a node
    /// that has lost its slots has its last words.
    fn take_in(&mut self, now: Instant) {
        let Some(map) = self.news.map() else { return };
        let before = std::mem::replace(&mut self.map, map);
        for node in &mut self.members {
            if before.masters().contains(&node.address) && !self.map.masters().contains(&node.address) {
                node.leaves_at = Some(now + LAST_WORDS);
            }
        }
        let waiting: Vec<Request> = self.members.iter_mut().flat_map(|node| node.queue.drain(..)).collect();
        for request in waiting {
            self.append(request);
        }
    }

    /// What a node would not do: it goes to another, at once or later, while its deadline allows.
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
                    self.take_in(now);
                }
                request.routing.hops = request.routing.hops.saturating_add(1);
                if request.routing.hops <= HOPS {
                    return self.append(request);
                }
            }
            None => {
                if let Some(core) = self.core.upgrade() {
                    core.topology.doubt();
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

    /// Sees to every node. Says when to look again.
    ///
    /// # Errors
    ///
    /// `connection` when no node is up and none is being connected to.
    pub(in crate::connection) fn tend(&mut self, keep_alive: Duration, now: Instant) -> Result<Instant> {
        batch(|| self.take_in(now));
        let mut next = now + keep_alive;
        for at in 0..self.members.len() {
            match self.tend_node(at, keep_alive, now) {
                Ok(look_again) => next = look_again.map_or(next, |at| next.min(at)),
                Err(error) => batch(|| self.lost(at, error)),
            }
        }
        self.retire(now);
        if !self.members.iter().any(|node| !matches!(node.link, Link::Down(_))) {
            let error = Error::new(ErrorKind::Connection, "the connection was lost: no node of the cluster is left");
            return Err(match self.last_failure.take() {
                Some(cause) => error.caused_by(cause),
                None => error,
            });
        }
        Ok(next)
    }

    /// Sees to one node. Says when to look again.
    ///
    /// # Errors
    ///
    /// `connection` when its connection is lost, or is to be given up.
    fn tend_node(&mut self, at: usize, keep_alive: Duration, now: Instant) -> Result<Option<Instant>> {
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
                let stands_still_at = pipeline.waiting_since().map(|since| since + STANDS_STILL);
                if stands_still_at.is_none_or(|at| at > now) {
                    node.missing = None;
                } else if node.missing.is_none() {
                    node.missing = missing();
                }
                let stands_still_at = stands_still_at.filter(|at| *at > now);
                Ok([Some(look_again), stands_still_at, node.leaves_at].into_iter().flatten().min())
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

    /// Lets go of nodes that own nothing and are of no use to anyone.
    fn retire(&mut self, now: Instant) {
        let map = &self.map;
        self.members.retain(|node| {
            let has_left = node.leaves_at.is_some() && node.is_idle();
            map.masters().contains(&node.address)
                || !node.is_idle()
                || (matches!(node.link, Link::Up(_))
                    && !has_left
                    && now.saturating_duration_since(node.used) < RETIREMENT)
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
                // One that cannot be said good-bye to does not keep the others from it.
                pending |= pipeline.poll_shutdown(cx).is_pending();
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}
