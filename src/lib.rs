//! redis-backplane

pub mod embedded;
