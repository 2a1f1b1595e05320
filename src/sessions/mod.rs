//! Sessions: the state of a user or a dialogue, by id. A late request never overwrites a newer state.
//!
//! # Promises
//!
//! - A session's data, messages and marks are in one hash slot, and each call is one script. So a call happens as a whole or not at all.
//!   What a call costs does not grow with what is stored.
//! - The server's clock decides what has expired. Data and messages expire together, and not after the absolute end.
//! - A save names the version, and the time of the session's creation. It changes nothing if the session was saved, destroyed or lost
//!   since. It never brings a session back.
//! - Each call that writes may be sent twice: a repetition, known by its version and content or by its token, gets the same answer. So a
//!   call whose answer was lost is sent again within its deadline.
//! - Bad arguments are refused before anything is sent, with kind `config` naming them.
//!
//! # The list of a user's sessions
//!
//! A user's list is in another hash slot than the sessions. So a session of a user takes two writes, and one of them may be lost. The list
//! is written first, so every session that exists was in the list. An entry without a session is noticed when the list is read. It leaves the
//! list when it is too old to belong to a session that is being created. Each entry has the time at which its session was last known to
//! exist. Each write of an entry checks the two oldest entries, so a list holds few entries of ended sessions. A session writes its entry
//! again once in `touchEverySec`, so a list that was lost fills again. Destroying all sessions of a user also marks those that are
//! being created.
//!
//! | file | what |
//! |---|---|
//! | `calls` | the calls for one session: one script each |
//! | `users` | the list of a user's sessions |
//! | `takeover` | sessions of another store, taken over |
//! | `listing` | a walk over all sessions |
//! | `reach` | whether Redis can be reached, for stores that continue without Redis |
//! | `settings`, `ids`, `record`, `scripts` | options, ids, replies as outcomes, and the scripts |

mod calls;
mod ids;
mod listing;
mod reach;
mod record;
mod scripts;
mod settings;
mod takeover;
mod users;

use crate::connection::{Command, Decode, Manager};
use crate::crossing::{Outcome, Outlet};
use crate::error::Result;
use crate::keys::{Namespace, SessionKeys};
use crate::options::Options;
use crate::resp::Reply;
use crate::verb::{Call, Class, Verb, verbs};

use reach::Reach;
use settings::Settings;

/// A store of sessions on a manager. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sessions {
    manager: Manager,
    namespace: Namespace,
    settings: Settings,
    /// Present where the store continues without Redis.
    reach: Option<Reach>,
}

impl Class for Sessions {
    const NAME: &'static str = "sessions";
    const VERBS: &'static [Verb<Self>] = verbs! { "sessions" "SessionStore" {
        "create" => calls::create;
        "load" => calls::load;
        "save" => calls::save;
        "read" as "SessionStore.update" in "sessions.update" => calls::read;
        "touch" => calls::touch;
        "destroy" => users::destroy;
        "regenerate" => users::regenerate;
        "append" => calls::append;
        "recent" => calls::recent;
        "ofUser" => users::of_user;
        "destroyOfUser" => users::destroy_of_user;
        "enlist" => users::enlist;
        "takeOver" as "BackplaneStore.get" => takeover::take_over;
        "forget" as "BackplaneStore.destroy" => takeover::forget;
        "page" as "BackplaneStore.all" in "sessions.all" => listing::page;
        "degraded" => calls::degraded;
        "back" => calls::back;
        "resume" => calls::resume;
    } };
    type Parent = Manager;

    fn open(manager: &Manager, options: &str, outlet: Outlet) -> Result<Self> {
        Self::new(manager.clone(), Options::parse("SessionStore", options)?, outlet)
    }
}

impl Sessions {
    /// A store on `manager`, in the namespace that the options name inside the manager's namespace. `outlet` gets an event when Redis
    /// is away.
    ///
    /// # Errors
    ///
    /// `config`, naming the option.
    pub fn new(manager: Manager, options: Options, outlet: Outlet) -> Result<Self> {
        let settings = Settings::read(options)?;
        let namespace = manager.namespace().containing(&settings.namespace);
        let reach = settings.away_after.map(|after| Reach::new(manager.clone(), after, outlet));
        Ok(Self { manager, namespace, settings, reach })
    }

    fn keys(&self, id: &[u8]) -> SessionKeys {
        self.namespace.session(id)
    }

    /// The answer to a command that may be sent twice.
    async fn ask(&self, command: Command, writes: bool) -> Result<Reply> {
        match &self.reach {
            Some(reach) => reach.call(command, writes).await,
            None => self.manager.call(command).await,
        }
    }

    /// Sends a command that may be sent twice, and answers the call with its reply.
    fn send(&self, call: Call<'_>, writes: bool, decode: Decode, pack: impl FnOnce(&Call<'_>) -> Result<Command>) {
        if self.reach.is_none() {
            return call.send(&self.manager, decode, pack);
        }
        let sessions = self.clone();
        call.run(|call| {
            let command = pack(call)?;
            Ok(async move {
                let reply = sessions.ask(command, writes).await?;
                decode(reply, sessions.manager.metrics())
            })
        });
    }

    /// As [`Sessions::send`], for a call with several steps.
    async fn run(&self, command: Command, decode: Decode) -> Result<Outcome> {
        decode(self.ask(command, true).await?, self.manager.metrics())
    }
}
