//! The connections to a cluster's masters, in place of the one to a single server.
//!
//! Each master that something was routed to has a queue and, while there is use for it, a pipeline. A request stands in
//! one place at a time: a queue, a pipeline, or the actor's list of what to repeat. A node that is lost says nothing
//! about the others: its requests are sorted as those of a lost single connection are, and wait for it or its
//! successor. Only when no node is left is the whole lost, and the actor begins anew.
//!
//! The slot map is fetched again after a `MOVED`, a `CLUSTERDOWN`, a lost node and a failed attempt to reach one; one
//! fetch at a time, at most one in [`REFRESH_PAUSE`], jittered.

use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::oneshot;

use super::discovery::{Found, candidates, connect_to, refreshed, slots_command};
use super::gather::{Sent, gather};
use super::node::{Link, Node};
use super::route::{Part, Place, Route, route};
use super::slots::{Redirect, SlotMap};
use crate::connection::candidates::within;
use crate::connection::config::Config;
use crate::connection::handshake::Greeted;
use crate::connection::pipeline::{Demand, Leftovers, Pipeline, timed_out};
use crate::connection::request::{Command, Request, Sink};
use crate::connection::shared::Shared;
use crate::connection::target::{Address, Target};
use crate::crossing::batch;
use crate::error::{Error, ErrorKind, Result};
use crate::lifecycle;
use crate::resp::Reply;
use crate::telemetry::Metrics;

/// The least time between the end of one fetch of the slot map and the next; up to half as much again is added.
const REFRESH_PAUSE: Duration = Duration::from_millis(100);
/// `MOVED` that a request follows at once; after so many it waits between them.
const HOPS: u8 = 5;
/// How long the connection to a node that owns no slot is kept unused.
const RETIREMENT: Duration = Duration::from_secs(30);
/// What the actor waits before it repeats a request.
const LATER: Duration = Duration::from_millis(50);

type Refresh = Pin<Box<dyn Future<Output = Result<SlotMap>> + Send>>;

pub(in crate::connection) struct Nodes {
    /// Weak: what is shared owns this.
    shared: Weak<Shared>,
    config: Arc<Config>,
    seeds: Vec<Address>,
    metrics: Arc<Metrics>,
    /// Counts the parts of requests, which are counted as wholes, and what nobody asked for.
    uncounted: Arc<Metrics>,
    map: Arc<SlotMap>,
    members: Vec<Node>,
    /// Where commands without a key go, while it is up.
    home: Address,
    refresh: Option<Refresh>,
    refresh_at: Option<Instant>,
    refreshed: Instant,
    demands: Vec<Demand>,
    last_failure: Option<Error>,
}

impl Nodes {
    pub(super) fn new(shared: &Arc<Shared>, found: Found) -> Self {
        let now = Instant::now();
        let metrics = Arc::clone(&shared.metrics);
        let pipeline = Pipeline::new(found.greeted.stream, Arc::clone(&metrics), now).in_cluster();
        let map = Arc::new(found.map);
        shared.directory.set(Arc::clone(&map));
        let seeds = match &shared.config.target {
            Target::Cluster(seeds) => seeds.clone(),
            Target::Tcp(_) | Target::Unix(_) | Target::Memory(_) | Target::Sentinel { .. } => Vec::new(),
        };
        let mut node = Node::new(found.address.clone(), now);
        node.link = Link::Up(Box::new(pipeline));
        Self {
            shared: Arc::downgrade(shared),
            config: Arc::new(shared.config.clone()),
            seeds,
            metrics,
            uncounted: Arc::default(),
            map,
            members: vec![node],
            home: found.address,
            refresh: None,
            refresh_at: None,
            refreshed: now,
            demands: Vec::new(),
            last_failure: None,
        }
    }

    /// Takes a request in: routes it, in parts if it must be.
    pub(in crate::connection) fn append(&mut self, mut request: Request) {
        request.asking = false;
        if request.place.is_none() {
            match route(&request.command, &self.map) {
                Ok(Route::Whole(place)) => request.place = Some(place),
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

    fn send_part(&mut self, whole: &Request, part: Part) -> Sent {
        let (sink, answer) = oneshot::channel();
        let Command { safe, operation, ref script, .. } = whole.command;
        // Only a call of a script can be answered with NOSCRIPT, so it does no harm at the other parts.
        let command = Command { payload: part.payload, replies: 1, safe, operation, script: script.clone() };
        let mut request = Request::new(command, Sink::Waiter(sink), whole.accepted, Arc::clone(&self.uncounted));
        request.place = Some(part.place);
        self.place(request);
        Sent { answer, elements: part.elements }
    }

    /// Puts a request to the node it belongs to.
    fn place(&mut self, request: Request) {
        let address = match &request.place {
            Some(Place::Slot(slot)) => self.map.owner(*slot),
            Some(Place::Master(address)) => {
                if !self.map.masters().contains(address) {
                    let error = Error::new(ErrorKind::Connection, format!("{address} is no master of the cluster now"));
                    return request.settle(Err(error), Instant::now());
                }
                Some(&**address)
            }
            Some(Place::Anywhere) | None => None,
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

    /// Moves on whatever can be: reads, writes, connects, fetches the slot map. Never lost by itself: see [`Nodes::tend`].
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
        if let Some(refresh) = &mut self.refresh
            && let Poll::Ready(outcome) = refresh.as_mut().poll(cx)
        {
            progress = true;
            self.refresh = None;
            self.refreshed = Instant::now();
            match outcome {
                Ok(map) => self.learn(map),
                // A failure of every node is met by who uses them, too.
                Err(error) => self.last_failure = Some(error),
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
                let pipeline = Pipeline::new(greeted.stream, Arc::clone(&self.metrics), now).in_cluster();
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
        if let Link::Up(pipeline) = std::mem::replace(&mut node.link, Link::Down(until)) {
            let again = pipeline.end().repeatable(&error, &self.metrics, now);
            self.failed(error);
            for request in again {
                self.append(request);
            }
        }
    }

    fn failed(&mut self, error: Error) {
        self.want_refresh();
        if let Some(shared) = self.shared.upgrade() {
            shared.failed(&error);
        }
        self.last_failure = Some(error);
    }

    fn want_refresh(&mut self) {
        if self.refresh.is_none() && self.refresh_at.is_none() {
            let jitter = REFRESH_PAUSE.mul_f64(fastrand::f64() / 2.0);
            self.refresh_at = Some(Instant::now().max(self.refreshed + REFRESH_PAUSE) + jitter);
        }
    }

    /// Fetches the slot map: over a connection that is up, else over one of its own.
    fn start_refresh(&mut self, now: Instant) {
        self.refresh_at = None;
        let mut up: Vec<&mut Node> = self
            .members
            .iter_mut()
            .filter(|node| matches!(&node.link, Link::Up(pipeline) if pipeline.has_room()))
            .collect();
        let asked = fastrand::choice(&mut up).and_then(|node| match &mut node.link {
            Link::Up(pipeline) => {
                let (sink, answer) = oneshot::channel();
                let sink = Sink::Waiter(sink);
                let mut request = Request::new(slots_command(), sink, now, Arc::clone(&self.uncounted));
                request.place = Some(Place::Anywhere);
                pipeline.append(request);
                Some((node.address.clone(), answer))
            }
            Link::Down(_) | Link::Opening(_) => None,
        });
        let candidates = candidates(self.map.masters(), &self.seeds);
        let config = Arc::clone(&self.config);
        self.refresh = Some(Box::pin(refreshed(config, asked, candidates)));
    }

    /// Takes a new map in: what waits for a node goes to whoever owns its slot now.
    fn learn(&mut self, map: SlotMap) {
        if map == *self.map {
            return;
        }
        self.map = Arc::new(map);
        if let Some(shared) = self.shared.upgrade() {
            shared.directory.set(Arc::clone(&self.map));
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
                request.asking = true;
                return self.give(&address, request);
            }
            Some(Redirect { slot, address, ask: false }) => {
                if self.map.owner(slot) != Some(&address) {
                    Arc::make_mut(&mut self.map).moved(slot, &address);
                }
                self.want_refresh();
                request.hops = request.hops.saturating_add(1);
                if request.hops <= HOPS {
                    return self.append(request);
                }
            }
            None => self.want_refresh(),
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
        let mut next = now + keep_alive;
        for at in 0..self.members.len() {
            let node = &mut self.members[at];
            match &mut node.link {
                Link::Up(pipeline) => match pipeline.check_alive(keep_alive, now) {
                    Ok(look_again) => {
                        next = next.min(look_again);
                        while let Some(request) = node.queue.pop_front_if(|_| pipeline.has_room()) {
                            pipeline.append(request);
                        }
                    }
                    Err(error) => batch(|| self.lost(at, error)),
                },
                Link::Down(until) if !node.queue.is_empty() => {
                    if *until <= now {
                        let (config, address) = (Arc::clone(&self.config), node.address.clone());
                        node.link = Link::Opening(Box::pin(async move {
                            within(config.connect_timeout, connect_to(&config, &address)).await
                        }));
                    } else {
                        next = next.min(*until);
                    }
                }
                Link::Down(_) | Link::Opening(_) => {}
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
        if self.refresh_at.is_some_and(|at| at <= now) {
            self.start_refresh(now);
        }
        Ok(self.refresh_at.map_or(next, |at| next.min(at)))
    }

    /// Lets go of nodes that own nothing and are of no use to anyone.
    fn retire(&mut self, now: Instant) {
        let map = &self.map;
        self.members.retain(|node| {
            map.masters().contains(&node.address)
                || !node.is_idle()
                || (matches!(node.link, Link::Up(_)) && now.saturating_duration_since(node.used) < RETIREMENT)
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
