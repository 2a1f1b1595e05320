//! redis-backplane
