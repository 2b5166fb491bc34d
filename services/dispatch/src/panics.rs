//! What a handler's panic said, and where.
//!
//! A panic that is caught leaves only its message: place and backtrace are known to the process's panic hook alone, while
//! the stack still stands. [`install`] puts a hook before the one there is. It owns the panics of handlers, and notes them
//! for the thread, where [`caught`] finds them when the panic has unwound to it; all other panics go on to the hook that was
//! there before. A handler is a future that moves between threads, so the thread is marked for the time of each poll, and a
//! panic never leaves the poll that it happened in.
//!
//! Two things follow. A panic that a handler's own `catch_unwind` catches is not printed: that handler must report it. A
//! panic while another unwinds aborts the process, so a second one before the first was taken goes to the former hook too.

use std::{
    any::Any,
    backtrace::Backtrace,
    cell::RefCell,
    future::poll_fn,
    panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind},
    pin::pin,
    sync::Once,
    task::Poll,
};

const LONGEST_MESSAGE: usize = 4 * 1024;
const LONGEST_BACKTRACE: usize = 32 * 1024;

thread_local! {
    static POLL: RefCell<Watch> = const { RefCell::new(Watch::Off) };
}

/// Whether a handler is polled on this thread, and what its panic was.
enum Watch {
    Off,
    On(Option<Panic>),
}

/// A handler's panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// Its message, cut to 4 KiB.
    pub message: String,
    /// File, line and column. `None` without [`install`].
    pub location: Option<String>,
    /// The stack, cut to 32 KiB. `None` without [`install`].
    pub backtrace: Option<String>,
}

/// Installs the hook, for the whole process; the second call does nothing. Without it panics of handlers are caught all the
/// same, but told without place and backtrace, and the standard hook prints them beside.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let former = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !note(info) {
                former(info);
            }
        }));
    });
}

/// Notes a panic if it is a handler's first; `false`: it is for the former hook.
fn note(info: &PanicHookInfo<'_>) -> bool {
    // The thread's locals can be gone already when it ends by a panic.
    let watched = POLL.try_with(|poll| matches!(*poll.borrow(), Watch::On(_))).unwrap_or(false);
    if !watched {
        return false;
    }
    let panic = Panic {
        message: message(info.payload()),
        location: info.location().map(ToString::to_string),
        backtrace: Some(cut(Backtrace::force_capture().to_string(), LONGEST_BACKTRACE)),
    };
    let before = POLL.replace(Watch::On(Some(panic)));
    !matches!(before, Watch::On(Some(_)))
}

/// Runs a handler's future to its end.
///
/// # Errors
/// It panicked.
pub async fn caught<F: Future>(future: F) -> Result<F::Output, Panic> {
    let mut future = pin!(Some(future));
    poll_fn(|context| {
        let polled = watched(|| future.as_mut().as_pin_mut().map(|future| future.poll(context)));
        match polled {
            Ok(Some(Poll::Ready(output))) => Poll::Ready(Ok(output)),
            // There is always a future until this is ready.
            Ok(Some(Poll::Pending) | None) => Poll::Pending,
            Err(panic) => {
                // What is left of it can panic once more when it goes. The first says what happened.
                let _ = watched(|| future.set(None));
                Poll::Ready(Err(panic))
            }
        }
    })
    .await
}

/// Runs it with the thread marked.
fn watched<R>(run: impl FnOnce() -> R) -> Result<R, Panic> {
    // A handler that drives another one to its end on its own thread marks it twice.
    let outer = POLL.replace(Watch::On(None));
    // What the panic left half done is the handler's own: nothing of ours is lent to it mutably.
    let outcome = catch_unwind(AssertUnwindSafe(run));
    let noted = POLL.replace(outer);
    outcome.map_err(|payload| match noted {
        Watch::On(Some(panic)) => panic,
        _ => Panic { message: message(&*payload), location: None, backtrace: None },
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    cut(text.unwrap_or("a panic without a message").to_owned(), LONGEST_MESSAGE)
}

fn cut(mut text: String, longest: usize) -> String {
    if text.len() > longest {
        text.truncate(text.floor_char_boundary(longest));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::{pin::Pin, task::Context};

    use super::*;

    /// Panics when it is polled, and again when it is dropped.
    struct Twice;

    impl Future for Twice {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            panic!("polled")
        }
    }

    impl Drop for Twice {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    #[tokio::test]
    async fn panic_in_the_drop_of_a_future_is_caught() {
        assert_eq!(caught(Twice).await.unwrap_err().message, "polled");
    }

    #[tokio::test]
    async fn messages_of_all_sorts() {
        let told = async |run: fn()| caught(async move { run() }).await.unwrap_err().message;
        assert_eq!(told(|| panic!("plain")).await, "plain");
        assert_eq!(told(|| panic!("with {}", 1)).await, "with 1");
        assert_eq!(told(|| std::panic::panic_any(7)).await, "a panic without a message");
        // Cut between characters: each is 3 bytes long.
        assert_eq!(told(|| panic!("{}", "ラ".repeat(5000))).await.len(), LONGEST_MESSAGE / 3 * 3);
    }

    #[tokio::test]
    async fn output_is_returned_without_a_panic() {
        let outcome = caught(async {
            tokio::task::yield_now().await;
            5
        });
        assert_eq!(outcome.await, Ok(5));
    }
}
