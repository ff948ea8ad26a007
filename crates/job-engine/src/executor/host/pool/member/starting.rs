//! A process until it has said hello.

use std::sync::Arc;

use slipstream_action::protocol::{self, Hello, ToHost};
use slipstream_action::with_causes;
use slipstream_cimi::Document;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{Member, gone_by, kill};
use crate::executor::host::conversation::{Conversation, Gone, Said};
use crate::executor::host::pool::Shared;
use crate::programs::environment::environment;
use crate::programs::log::Log;
use crate::programs::process::{Event, Input, Process, Start};
use crate::programs::throttle::Throttle;

impl Member {
    /// Starts a process and waits for its hello, until it is unwanted. If it says none, nothing of it is left when this ends.
    pub(super) async fn start(pool: &Arc<Shared>, id: u64, is_unwanted: &CancellationToken) -> Result<Self, String> {
        let (provider, context) = (&pool.provider, &pool.context);
        let begun = Instant::now();
        let directory = context.work_dir.make().map_err(|error| format!("cannot make a directory for it: {error}"))?;
        let log = Log::new(pool.name());
        let mut ours = vec![("TMPDIR", directory.path().into()), ("SLIPSTREAM_EXECUTOR", (&*context.executor).into())];
        ours.extend(pool.setup.socket.as_ref().map(|socket| ("SLIPSTREAM_SOCKET", socket.into())));
        let start = Start {
            keepers: &context.keepers,
            program: &provider.program,
            directory: directory.path(),
            errors: context.work_dir.beside("errors"),
            stacks: Some(context.work_dir.beside("stacks")),
            environment: environment(&provider.program, std::env::vars_os(), ours),
            log: log.clone(),
        };
        let mut process = match Process::start(start).await {
            Ok(process) => process,
            Err(error) => {
                context.clear(directory).await;
                return Err(with_causes(&error));
            }
        };
        let (mut conversation, input) = (Conversation::default(), process.take_input());
        let greeted = greet(pool, &mut process, input.as_ref(), &mut conversation);
        let greeted = tokio::select! {
            biased;
            greeted = timeout(provider.start_within, greeted) => greeted,
            () = is_unwanted.cancelled() => Ok(Err(Gone::Unwanted)),
        };
        let gone = match greeted {
            Ok(Ok(hello)) => {
                let actions = hello.actions.iter().map(|action| action.name.clone()).collect();
                if !hello.stacks {
                    process.has_no_stacks();
                }
                pool.greeted(&Arc::new(hello));
                return Ok(Self {
                    pool: pool.clone(),
                    id,
                    begun,
                    process,
                    input,
                    directory: Arc::new(directory),
                    conversation,
                    throttle: Throttle::default(),
                    actions,
                    jobs: 0,
                    has_rested: false,
                    measured: Instant::now(),
                    is_told_late: false,
                });
            }
            Ok(Err(gone)) => gone,
            Err(_) => Gone::Silent(provider.start_within),
        };
        kill(&mut process).await;
        drop(process);
        context.clear(directory).await;
        Err(gone.without_job(&pool.program(), log.last_words().as_deref()))
    }
}

/// Says whom the process works for, and waits until it answers, or for why it never will.
async fn greet(
    pool: &Shared,
    process: &mut Process,
    input: Option<&Input>,
    conversation: &mut Conversation,
) -> Result<Hello, Gone> {
    let setup = ToHost::<Document>::Setup(pool.setup.clone());
    let line = protocol::line(&setup).map_err(|_| Gone::Deaf)?;
    if let Some(input) = input {
        // one that does not read it may say hello all the same, and one that has ended is seen below
        input.write(&line).await.unwrap_or_default();
    }
    loop {
        match process.event(true).await {
            Event::Line(line) => match conversation.said(&line, || false) {
                Ok(Said::Hello(hello)) => return Ok(hello),
                Ok(said) => unreachable!("{said:?} before hello"),
                Err(breach) => return Err(Gone::Broke(breach)),
            },
            Event::Breach(error) => return Err(gone_by(&error)),
            // most likely it ends
            Event::Silent => {}
            Event::Ended(exit) => return Err(Gone::Ended(exit)),
        }
    }
}
