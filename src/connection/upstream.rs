//! What the actor sends requests on: one connection, or the connections to the nodes of a cluster.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::cluster::Nodes;
use super::connect::connect;
use super::core::Core;
use super::pipeline::{Demand, Leftovers, Pipeline};
use super::request::Request;
use super::server_info::ServerInfo;
use super::target::Target;
use super::topology::{Seat, Topology};
use crate::error::{Error, ErrorKind, Result};

/// A connected server or cluster. [`Pipeline`] documents the methods.
#[expect(clippy::large_enum_variant, reason = "the pipeline of a single server is used without a detour")]
pub(super) enum Upstream {
    One {
        pipeline: Pipeline,
        /// Present where sentinels have named the master.
        seat: Option<Seat>,
    },
    Cluster(Box<Nodes>),
}

/// One attempt to connect to the target of the configuration, within `connectTimeoutMs`.
pub(super) async fn open(core: &Arc<Core>) -> Result<(ServerInfo, Upstream)> {
    if let Target::Cluster(seeds) = &core.config.target {
        let (server, nodes) = Nodes::open(core, seeds).await?;
        return Ok((server, Upstream::Cluster(Box::new(nodes))));
    }
    let greeted = connect(core).await?;
    let (server, address) = (greeted.server.clone(), greeted.address.clone());
    let pipeline = Pipeline::new(greeted, &core.config, Arc::clone(&core.metrics), Instant::now());
    let seat = address.map(|address| Seat { address, slot: None });
    Ok((server, Upstream::One { pipeline, seat }))
}

impl Upstream {
    /// The error of a connection that must be given up, because the sentinels have named another master. [`Nodes`] does this for a
    /// cluster itself.
    pub(super) fn left(&self, topology: &Topology) -> Option<Error> {
        match self {
            Self::One { seat: Some(seat), .. } if !topology.is_right(seat) => Some(Error::new(
                ErrorKind::Connection,
                format!("the connection was given up: the sentinels name another master than {}", seat.address),
            )),
            Self::One { .. } | Self::Cluster(_) => None,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        match self {
            Self::One { pipeline, .. } => pipeline.has_room(),
            // Each node has a queue of its own.
            Self::Cluster(_) => true,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        match self {
            Self::One { pipeline, .. } => pipeline.is_idle(),
            Self::Cluster(nodes) => nodes.is_idle(),
        }
    }

    pub(super) fn append(&mut self, request: Request) {
        match self {
            Self::One { pipeline, .. } => pipeline.append(request),
            Self::Cluster(nodes) => nodes.append(request),
        }
    }

    pub(super) fn take_demands(&mut self) -> Vec<Demand> {
        match self {
            Self::One { pipeline, .. } => pipeline.take_demands(),
            Self::Cluster(nodes) => nodes.take_demands(),
        }
    }

    pub(super) fn try_write(&mut self) -> bool {
        match self {
            Self::One { pipeline, .. } => pipeline.try_write(),
            Self::Cluster(nodes) => nodes.try_write(),
        }
    }

    pub(super) fn take_budget_spent(&mut self) -> bool {
        match self {
            Self::One { pipeline, .. } => pipeline.take_budget_spent(),
            Self::Cluster(nodes) => nodes.take_budget_spent(),
        }
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<()>> {
        match self {
            Self::One { pipeline, .. } => pipeline.poll(cx),
            Self::Cluster(nodes) => nodes.poll(cx),
        }
    }

    pub(super) fn next_deadline(&self, timeout: Duration) -> Option<Instant> {
        match self {
            Self::One { pipeline, .. } => pipeline.next_deadline(timeout),
            Self::Cluster(nodes) => nodes.next_deadline(timeout),
        }
    }

    pub(super) fn expire(&mut self, timeout: Duration, now: Instant) {
        match self {
            Self::One { pipeline, .. } => pipeline.expire(timeout, now),
            Self::Cluster(nodes) => nodes.expire(timeout, now),
        }
    }

    pub(super) fn check_alive(&mut self, keep_alive: Duration, now: Instant) -> Result<Instant> {
        match self {
            Self::One { pipeline, .. } => pipeline.check_alive(keep_alive, now),
            Self::Cluster(nodes) => nodes.maintain(keep_alive, now),
        }
    }

    pub(super) fn end(self) -> Leftovers {
        match self {
            Self::One { pipeline, .. } => pipeline.end(),
            Self::Cluster(nodes) => nodes.end(),
        }
    }

    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self {
            Self::One { pipeline, .. } => pipeline.poll_shutdown(cx),
            Self::Cluster(nodes) => nodes.poll_shutdown(cx),
        }
    }
}
