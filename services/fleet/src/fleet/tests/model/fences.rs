//! Each rule taken out in turn: the checker must find what it keeps away. This is what shows that the model can see harm at
//! all, and that no rule is there for nothing.

use super::*;

const ALL: Fault = Fault::StoreLoses { everything: true };

/// What the checker finds, and the shortest way there.
fn found(model: FleetModel) -> Option<(&'static str, Vec<Action>)> {
    let checker = model.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    checker.discoveries().into_iter().next().map(|(property, path)| (property, path.into_actions()))
}

/// What it finds when the parts of a beat happen in these orders only: for what is gone through to its end.
fn found_in(
    orders: &'static [Order],
    out: &'static [Fence],
    faults: u8,
    menu: &[Fault],
) -> Option<(&'static str, Vec<Action>)> {
    found(FleetModel { orders, ..without(out, faults, menu) })
}

fn without(out: &'static [Fence], faults: u8, menu: &[Fault]) -> FleetModel {
    FleetModel { fences: Fences { out, ..Fences::default() }, ..model(2, faults, menu.to_vec()) }
}

/// That these faults do no harm with every rule is seen where they are all struck: see [`super`].
fn is_needed(out: &'static [Fence], faults: u8, menu: &[Fault]) {
    assert!(found(without(out, faults, menu)).is_some(), "nothing happens without {out:?}");
}

macro_rules! needed {
    ($($name:ident: $fence:ident, $faults:literal, [$($fault:expr),+ $(,)?];)+) => {
        $(
            #[test]
            fn $name() {
                is_needed(&[Fence::$fence], $faults, &[$($fault),+]);
            }
        )+
    };
}

needed! {
    // The worker's side.
    shards_stop_with_the_window: ShardsStopWithTheWindow, 1, [Fault::CutOff(1, 8)];
    renewals_count_from_their_sending: RenewalsCountFromSending, 2,
        [Fault::LateAcknowledgements(0, 3), Fault::CutOff(0, 8)];
    the_clock_runs_while_the_process_is_stopped: ClockRunsWhileStopped, 2, [Fault::Stop(0, 3), Fault::CutOff(0, 8)];
    a_refusal_ends_the_life: RefusalsEndTheLife, 2, [Fault::FalseEvidence(0), Fault::CutFromCoordinators(0, 8)];
    claims_need_an_open_window: ClaimsNeedAnOpenWindow, 3, [Fault::CutOff(0, 8), Fault::CutOff(1, 8), ALL];

    // The store's.
    silence_revokes_only_what_has_lapsed: SilenceRevokesWhatLapsed, 1, [Fault::CutFromCoordinators(1, 8)];
    what_is_revoked_stays_revoked: RevokedStaysRevoked, 2,
        [Fault::FalseEvidence(0), Fault::CutFromCoordinators(0, 8)];
    a_missing_lease_is_written_only_in_the_window: NoRewriteOutsideTheWindow, 3,
        [Fault::CutOff(1, 8), ALL, Fault::CutFromCoordinators(1, 8)];
    the_store_refuses_older_terms: StoreRefusesOlderTerms, 2, [Fault::CoordinatorStops(8), Fault::FalseEvidence(1)];
    checkpoints_refuse_older_epochs: CheckpointsRefuseOlderEpochs, 2,
        [Fault::FalseEvidence(1), Fault::CutFromCoordinators(1, 8)];

    // The coordinator's.
    epochs_are_above_what_a_store_forgot: EpochsFromTheClock, 2, [ALL, Fault::Stop(1, 8)];
    a_store_is_not_believed_right_after_it_was_wiped: TrustTakesTheTtl, 2, [Fault::CutFromCoordinators(1, 8), ALL];
    evidence_revokes: EvidenceRevokes, 2, [Fault::FalseEvidence(0), Fault::CutFromCoordinators(0, 8)];
    permits_are_for_owners: PermitsOnlyForOwners, 2, [Fault::FalseEvidence(1)];
    strangers_are_waited_for: UnregisteredAreWaitedFor, 2, [ALL, Fault::CutFromCoordinators(1, 8)];
    an_unconfirmed_term_acknowledges_nothing: UnconfirmedTermsAcknowledgeNothing, 3,
        [Fault::CoordinatorCutFromStore(18), Fault::CutFromStore(1, 18), Fault::Crash(0, 8)];
    ends_are_proof_only_with_a_trusted_store: OnlyTrustedStoresAreWhole, 3,
        [ALL, Fault::CutOff(1, 8), Fault::CoordinatorEndsProvably];
    a_new_term_fences_the_store: NewTermsFenceTheStore, 2, [Fault::Crash(0, 1), Fault::CoordinatorStops(8)];
}

/// One that was told of a shard may have run it: what was handed over to it is void when it dies. An owner whose record is on
/// its way must not be such a one.
#[test]
fn writing_before_assigning_keeps_copies_usable() {
    const ORDERS: &[Order] = &[Order::Quick, Order::Slow];
    let menu = [Fault::Crash(1, 1), Fault::CoordinatorRestarts, Fault::CutFromCoordinators(1, 8)];
    assert_eq!(found_in(ORDERS, &[Fence::UnregisteredAreWaitedFor], 3, &menu), None);
    let (property, _) = found_in(ORDERS, &[Fence::WrittenBeforeTold], 3, &menu).unwrap();
    assert_eq!(property, "no shard begins with a stale copy");
}

/// A third line: silence is counted from a coordinator's start, the store is believed only a TTL after it, and strangers
/// are waited for. Where a store is believed at once and strangers are not waited for, the grace is needed.
#[test]
fn grace_after_a_start_holds_back_trust_and_unregistered_workers() {
    const ORDERS: &[Order] = &[Order::Quick, Order::Racing];
    let menu = [Fault::CoordinatorRestarts, ALL, Fault::CutFromCoordinators(1, 3)];
    assert_eq!(found_in(ORDERS, &[Fence::GraceAfterAStart], 2, &menu), None);
    let others: &[Fence] = &[Fence::TrustTakesTheTtl, Fence::UnregisteredAreWaitedFor];
    assert_eq!(found_in(ORDERS, others, 2, &menu), None);
    let all: &[Fence] = &[Fence::GraceAfterAStart, Fence::TrustTakesTheTtl, Fence::UnregisteredAreWaitedFor];
    assert!(found_in(ORDERS, all, 2, &menu).is_some());
}

/// A second line: a coordinator that does not reach the store opens no window that has closed, and one that has just woken
/// up acknowledges nothing. Where it does, a worker that knows of a newer one must not obey it.
#[test]
fn workers_that_obey_no_older_term_are_the_second_line_behind_lapsed_leases() {
    use Fence::{LapsedStaysClosed, UnconfirmedTermsAcknowledgeNothing, WorkersIgnoreOlderTerms};
    const ORDERS: &[Order] = &[Order::Quick];
    let menu = [
        Fault::CoordinatorStops(8),
        Fault::CoordinatorCutFromStore(12),
        Fault::StreamBreaks(1),
        Fault::CutFromStore(1, 8),
    ];
    assert_eq!(found_in(ORDERS, &[LapsedStaysClosed, UnconfirmedTermsAcknowledgeNothing], 4, &menu), None);
    let all: &[Fence] = &[LapsedStaysClosed, UnconfirmedTermsAcknowledgeNothing, WorkersIgnoreOlderTerms];
    assert!(found_in(ORDERS, all, 4, &menu).is_some());
}

/// Fences that matter only without a standby: otherwise an unconfirmed term acknowledges nothing anyway.
#[test]
fn stopped_coordinator_without_a_standby_reopens_no_lapsed_window() {
    use Fence::{LapsedStaysClosed, StoppedCoordinatorsAskFirst, UnconfirmedTermsAcknowledgeNothing};
    let stops = [Fault::Stop(1, 8), Fault::CoordinatorStops(8), Fault::CutOff(1, 8)];
    assert!(
        found(without(&[UnconfirmedTermsAcknowledgeNothing, StoppedCoordinatorsAskFirst], 3, &stops))
            .is_some()
    );
    let cut = [Fault::Stop(1, 8), Fault::CoordinatorCutFromStore(8), Fault::CutOff(1, 8)];
    assert!(found(without(&[UnconfirmedTermsAcknowledgeNothing, LapsedStaysClosed], 3, &cut)).is_some());
}

/// Two fences against a coordinator that acts after its term has lapsed: renewals do not wait for work, and an
/// unconfirmed term acknowledges nothing. The second is needed by itself where the coordinator does not reach the
/// store.
#[test]
fn busy_coordinator_does_not_acknowledge_beside_another() {
    const ORDERS: &[Order] = &[Order::Quick];
    const BUSY: &[Fence] = &[Fence::TermsAreRenewedBesideTheWork];
    const BOTH: &[Fence] = &[Fence::TermsAreRenewedBesideTheWork, Fence::UnconfirmedTermsAcknowledgeNothing];
    let menu = [Fault::CoordinatorIsBusy(15), Fault::CutFromStore(1, 15), Fault::StreamBreaks(0)];
    assert_eq!(found_in(ORDERS, BUSY, 3, &menu), None);
    assert!(found_in(ORDERS, BOTH, 3, &menu).is_some());
}

/// A clock that is behind makes low epochs and terms. While the store remembers earlier ones, counting goes on from
/// them.
#[test]
fn slow_clock_is_harmless_while_the_store_remembers() {
    const ORDERS: &[Order] = &[Order::Quick, Order::Racing];
    let remembers = |fault: &Fault| !matches!(fault, Fault::StoreLoses { .. });
    let menu: Vec<Fault> = menu(2).into_iter().filter(remembers).collect();
    assert_eq!(found_in(ORDERS, &[Fence::EpochsFromTheClock], 1, &menu), None);
    let menu =
        [Fault::CoordinatorCrashes, Fault::Crash(0, 1), Fault::CutOff(1, 8), Fault::CoordinatorStops(8)];
    assert_eq!(found_in(ORDERS, &[Fence::EpochsFromTheClock], 2, &menu), None);
}

/// Not needed within these bounds: one coordinator writes growing epochs in order, and the others are kept out by their
/// terms. It is kept for clocks of coordinators that disagree, which this model does not have, and as what
/// checkpoints are fenced by.
#[test]
fn epochs_grow_by_terms_alone_while_clocks_agree() {
    const ORDERS: &[Order] = &[Order::Quick, Order::Slow];
    let menu = [Fault::CoordinatorStops(8), Fault::Crash(1, 1), Fault::CoordinatorRestarts];
    assert_eq!(found_in(ORDERS, &[Fence::EpochsOnlyGrow], 2, &menu), None);
}
