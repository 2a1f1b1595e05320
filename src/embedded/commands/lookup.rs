//! Finding the handler of a command.

use std::sync::LazyLock;

use super::table::HANDLERS;
use super::{Args, Handler};
use crate::embedded::reply::Fault;
use crate::redis_commands::{self, Spec, TABLE, flag};

/// A command that the engine supports.
#[derive(Debug, Clone, Copy)]
pub(in crate::embedded) struct Command {
    pub(in crate::embedded) spec: &'static Spec,
    pub(in crate::embedded) handler: Handler,
}

/// The supported commands, by their index in the table of commands.
static COMMANDS: LazyLock<Vec<Option<Command>>> = LazyLock::new(|| {
    let mut commands = vec![None; TABLE.len()];
    for (name, handler) in HANDLERS {
        if let Some(spec) = redis_commands::named(name.as_bytes()) {
            commands[usize::from(spec.number)] = Some(Command { spec, handler: *handler });
        }
    }
    commands
});

fn command(spec: &Spec) -> Option<Command> {
    COMMANDS[usize::from(spec.number)]
}

/// Finds a command by its name, such as `get` or `client|id`, for COMMAND INFO and similar commands.
pub(in crate::embedded) fn by_name(name: &[u8]) -> Option<&'static Spec> {
    redis_commands::named(name).filter(|spec| command(spec).is_some())
}

pub(in crate::embedded) fn all() -> impl Iterator<Item = &'static Spec> {
    COMMANDS.iter().flatten().map(|command| command.spec).filter(|spec| !spec.is_subcommand())
}

/// The command that these arguments call.
pub(in crate::embedded) fn find(args: Args<'_>) -> Result<Command, Fault> {
    let spec = redis_commands::find(args).ok_or_else(|| unknown(args))?;
    match command(spec) {
        Some(_) if spec.has(flag::CONTAINER) && args.len() > 1 => Err(unknown_subcommand(args)),
        Some(command) if spec.fits(args.len()) => Ok(command),
        Some(_) => Err(Fault::arity(spec.name)),
        None if spec.is_subcommand() && by_name(args[0]).is_some() => Err(unknown_subcommand(args)),
        None => Err(unknown(args)),
    }
}

fn unknown_subcommand(args: Args<'_>) -> Fault {
    let text = [b"ERR unknown subcommand '", visible(args[1], 128), b"'. Try "].concat();
    Fault::new([&text[..], args[0].to_ascii_uppercase().as_slice(), b" HELP."].concat())
}

/// The bytes that C's `%.<limit>s` prints.
fn visible(bytes: &[u8], limit: usize) -> &[u8] {
    let shown = &bytes[..bytes.len().min(limit)];
    shown.iter().position(|&b| b == 0).map_or(shown, |at| &shown[..at])
}

fn unknown(args: Args<'_>) -> Fault {
    let mut shown = Vec::new();
    for arg in &args[1..] {
        if shown.len() >= 128 {
            break;
        }
        let part = visible(arg, 128 - shown.len());
        shown.extend_from_slice(&[b"'", part, b"' "].concat());
    }
    Fault::new([b"ERR unknown command '", visible(args[0], 128), b"', with args beginning with: ", &shown].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_handler_has_its_own_row_in_the_table_of_commands() {
        for (name, handler) in HANDLERS {
            let spec = by_name(name.as_bytes()).unwrap_or_else(|| panic!("{name} is not in the table"));
            assert!(std::ptr::fn_addr_eq(command(spec).unwrap().handler, *handler), "{name} has two handlers");
        }
    }

    #[test]
    fn commands_that_only_a_server_has_are_unknown_to_the_engine() {
        let fault = |words: &[&[u8]]| String::from_utf8(find(words).unwrap_err().0.to_vec()).unwrap();
        assert_eq!(fault(&[b"client", b"no-touch", b"on"]), "ERR unknown subcommand 'no-touch'. Try CLIENT HELP.");
        assert_eq!(fault(&[b"CLIENT", b"", b"on"]), "ERR unknown subcommand ''. Try CLIENT HELP.");
        assert_eq!(fault(&[b"cluster", b"info"]), "ERR unknown command 'cluster', with args beginning with: 'info' ");
        assert_eq!(fault(&[b"client|id"]), "ERR unknown command 'client|id', with args beginning with: ");
    }

    #[test]
    fn unknown_commands_get_the_errors_of_redis() {
        let fault = find(&[b"FOO", b"a", b"b"]).unwrap_err();
        assert_eq!(&*fault.0, b"ERR unknown command 'FOO', with args beginning with: 'a' 'b' ");
    }
}
