//! The syntax of `flashphoner.properties`.
