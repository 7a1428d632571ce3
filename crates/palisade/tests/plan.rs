//! What `Policy::plan` promises, of any policy and any kernel, by the public API alone.
//!
//! What is expected is worked out here a second time, from the table below. A failure shows the smallest policy that
//! fails, and the seed, PROPTEST_RNG_SEED, with which to see it again.

use std::hash::{BuildHasher, RandomState};

use palisade::{Abi, Kernel, Log, Plan, Policy, Ports, Preset, Result, Rights, Rule, Unavailable, path};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::RngSeed;

/// Each right and the ABI that brought it, as the kernel's documentation has them. The library's table is what is
/// tested, so that it is not asked here.
const RIGHTS: [(&str, Rights, u32); 23] = [
    ("execute", Rights::EXECUTE, 1),
    ("write_file", Rights::WRITE_FILE, 1),
    ("read_file", Rights::READ_FILE, 1),
    ("read_dir", Rights::READ_DIR, 1),
    ("remove_dir", Rights::REMOVE_DIR, 1),
    ("remove_file", Rights::REMOVE_FILE, 1),
    ("make_char", Rights::MAKE_CHAR, 1),
    ("make_dir", Rights::MAKE_DIR, 1),
    ("make_reg", Rights::MAKE_REG, 1),
    ("make_sock", Rights::MAKE_SOCK, 1),
    ("make_fifo", Rights::MAKE_FIFO, 1),
    ("make_block", Rights::MAKE_BLOCK, 1),
    ("make_sym", Rights::MAKE_SYM, 1),
    ("refer", Rights::REFER, 2),
    ("truncate", Rights::TRUNCATE, 3),
    ("ioctl_dev", Rights::IOCTL_DEV, 5),
    ("resolve_unix", Rights::RESOLVE_UNIX, 9),
    ("bind_tcp", Rights::BIND_TCP, 4),
    ("connect_tcp", Rights::CONNECT_TCP, 4),
    ("bind_udp", Rights::BIND_UDP, 10),
    ("connect_send_udp", Rights::CONNECT_SEND_UDP, 10),
    ("abstract_unix_socket", Rights::ABSTRACT_UNIX_SOCKET, 6),
    ("signal", Rights::SIGNAL, 6),
];
/// As many of them are of paths: the first.
const OF_PATHS: usize = 17;
const PORTS: [Rights; 4] =
    [Rights::BIND_TCP, Rights::CONNECT_TCP, Rights::BIND_UDP, Rights::CONNECT_SEND_UDP];
/// The Linux release of each ABI, from 1 on.
const LINUX: [&str; 11] = ["5.13", "5.19", "6.2", "6.7", "6.10", "6.12", "6.15", "7.0", "7.1", "7.2", "7.3"];
/// Kernels that are known, and some that are newer.
const ABIS: [u32; 13] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 99];

fn rights(of: impl Fn(u32) -> bool) -> Rights {
    RIGHTS.iter().filter(|(.., abi)| of(*abi)).map(|(_, right, _)| *right).collect()
}

fn all() -> Rights {
    rights(|_| true)
}

fn of_paths() -> Rights {
    RIGHTS[..OF_PATHS].iter().map(|(_, right, _)| *right).collect()
}

fn of_abi(n: u32) -> Rights {
    rights(|abi| abi <= n)
}

/// 0 where there is no Landlock.
fn number(kernel: &Kernel) -> u32 {
    kernel.abi().map_or(0, Abi::number)
}

fn of_kernel(kernel: &Kernel) -> Rights {
    of_abi(number(kernel))
}

fn kernel(abi: u32) -> Kernel {
    Kernel::new(Abi::new(abi).unwrap())
}

fn for_abi(abi: u32) -> Policy {
    Policy::for_abi(Abi::new(abi).unwrap())
}

/// What a policy is told, but what it requires.
#[derive(Clone, Debug)]
enum Call {
    Unrestricted(Rights),
    Rule(Rule),
    Port(Rights, Ports),
    Preset(Preset),
    Quiet(Rights),
    Log(Log),
}

impl Call {
    fn on(&self, policy: Policy) -> Policy {
        match self.clone() {
            Call::Unrestricted(rights) => policy.unrestricted(rights),
            Call::Rule(rule) => policy.rule(rule),
            Call::Port(Rights::BIND_TCP, ports) => policy.bind_tcp(ports),
            Call::Port(Rights::CONNECT_TCP, ports) => policy.connect_tcp(ports),
            Call::Port(Rights::BIND_UDP, ports) => policy.bind_udp(ports),
            Call::Port(_, ports) => policy.connect_udp(ports),
            Call::Preset(preset) => policy.preset(preset),
            Call::Quiet(rights) => policy.quiet(rights),
            Call::Log(log) => policy.log(log),
        }
    }

    /// What it has the policy leave alone.
    fn leaves_alone(&self) -> Rights {
        match *self {
            Call::Unrestricted(rights) => rights,
            Call::Port(right, Ports::ANY) => right,
            _ => Rights::empty(),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Require {
    Unsaid,
    These(Rights),
    Everything,
    Nothing,
}

#[derive(Clone, Debug)]
struct Asked {
    /// None is `Policy::new`.
    abi: Option<u32>,
    calls: Vec<Call>,
    require: Require,
}

impl Asked {
    fn policy(&self) -> Policy {
        let policy = self.abi.map_or_else(Policy::new, for_abi);
        self.calls.iter().fold(policy, |policy, call| call.on(policy))
    }

    fn plan(&self, kernel: &Kernel) -> Result<Plan> {
        match self.require {
            Require::Unsaid => self.policy().plan(kernel),
            Require::These(rights) => self.policy().require(rights).plan(kernel),
            Require::Everything => self.policy().strict().plan(kernel),
            Require::Nothing => self.policy().best_effort().plan(kernel),
        }
    }

    /// What it requires is in the policy.
    fn requiring(&self) -> Policy {
        match self.require {
            Require::Unsaid => self.policy(),
            Require::These(rights) => self.policy().require(rights),
            Require::Everything => self.policy().strict(),
            Require::Nothing => self.policy().require_nothing(),
        }
    }

    /// Never an error, for what is invalid is not asked here.
    fn best_effort(&self, kernel: &Kernel) -> Plan {
        self.policy().best_effort().plan(kernel).unwrap()
    }

    /// All that the ABI has, but what is left alone.
    fn requested(&self) -> Rights {
        let alone: Rights = self.calls.iter().map(Call::leaves_alone).collect();
        self.abi.map_or(all(), of_abi) - alone
    }

    fn required(&self) -> Rights {
        let required = match (self.require, self.abi) {
            (Require::Unsaid, None) => Rights::FS | Rights::TCP,
            (Require::Unsaid, Some(_)) | (Require::Everything, _) => all(),
            (Require::These(rights), _) => rights,
            (Require::Nothing, _) => Rights::empty(),
        };
        self.requested() & required
    }
}

fn one_of(rights: impl Into<Vec<Rights>>) -> impl Strategy<Value = Rights> {
    select(rights.into())
}

fn any_rights(n: usize) -> impl Strategy<Value = Rights> {
    subsequence(RIGHTS.map(|(_, right, _)| right).to_vec(), 0..=n).prop_map(|set| set.into_iter().collect())
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let groups =
        [Rights::RO, Rights::RX, Rights::RW, Rights::RWX, Rights::R, Rights::W, Rights::X, Rights::C];
    let names = RIGHTS[..OF_PATHS].iter().map(|(_, right, _)| *right).collect::<Vec<_>>();
    let paths =
        vec!["/", "/a", "/a/", "/a/b", ".", "no such path", "\u{1b}", "/dev/stdin", "/proc/self/maps"];
    let allowed = vec(prop_oneof![one_of(groups), one_of(names)], 1..4);
    let terms = (any::<bool>(), any::<bool>(), select(vec![Rule::file, Rule::dir, |rule| rule]));
    (subsequence(paths, 0..4), allowed, terms).prop_map(|(paths, allowed, (optional, quiet, kind))| {
        let rule = kind(path(paths).rights(allowed.into_iter().collect()));
        let rule = if optional { rule.optional() } else { rule };
        if quiet { rule.quiet() } else { rule }
    })
}

fn any_ports() -> impl Strategy<Value = Ports> {
    let range = (any::<u16>(), any::<u16>()).prop_map(|(a, b)| Ports::from(a.min(b)..=a.max(b)));
    prop_oneof![
        Just(Ports::ANY),
        Just(Ports::from(0)),
        range,
        any::<u16>().prop_map(Ports::from),
        // Often the same, and its neighbours.
        (80..83_u16).prop_map(Ports::from),
    ]
}

fn any_call() -> impl Strategy<Value = Call> {
    let categories = Rights::CATEGORIES.map(|(_, category)| category);
    prop_oneof![
        any_rights(6).prop_map(Call::Unrestricted),
        one_of(categories).prop_map(Call::Unrestricted),
        any_rule().prop_map(Call::Rule),
        any_rule().prop_map(Call::Rule),
        (one_of(PORTS), any_ports()).prop_map(|(right, ports)| Call::Port(right, ports)),
        (one_of(PORTS), any_ports()).prop_map(|(right, ports)| Call::Port(right, ports)),
        select(Preset::ALL.to_vec()).prop_map(Call::Preset),
        any_rights(23).prop_map(Call::Quiet),
        any::<u32>().prop_map(|bits| Call::Log(Log::from_bits_truncate(bits))),
    ]
}

fn any_calls() -> impl Strategy<Value = Vec<Call>> {
    vec(any_call(), 0..8)
}

fn any_policy() -> impl Strategy<Value = Asked> {
    let abi = proptest::option::of(select(ABIS.to_vec()));
    let require = prop_oneof![
        Just(Require::Unsaid),
        any_rights(4).prop_map(Require::These),
        any_rights(23).prop_map(Require::These),
        Just(Require::Everything),
        Just(Require::Nothing),
    ];
    (abi, any_calls(), require).prop_map(|(abi, calls, require)| {
        let mut asked = Asked { abi, calls, require };
        if let Require::These(rights) = &mut asked.require {
            // To require what is left alone is an error of another kind, but where ports are all allowed.
            let allowed = |call: &&Call| !matches!(call, Call::Port(..));
            let alone: Rights = asked.calls.iter().filter(allowed).map(Call::leaves_alone).collect();
            *rights = *rights & (asked.abi.map_or(all(), of_abi) - alone);
        }
        asked
    })
}

fn any_kernel() -> impl Strategy<Value = Kernel> {
    use Unavailable::*;
    let without = select(vec![NotBuilt, DisabledAtBoot, Filtered, NotLinux]).prop_map(Kernel::unavailable);
    let with = select(ABIS.to_vec()).prop_map(kernel);
    let errata = any_errata();
    (prop_oneof![1 => without, 4 => with], errata).prop_map(|(kernel, errata)| kernel.with_errata(errata))
}

fn any_errata() -> impl Strategy<Value = Option<u32>> {
    proptest::option::of(prop_oneof![0..16_u32, any::<u32>()])
}

/// The same policy, said in another order.
fn in_two_orders() -> impl Strategy<Value = (Asked, Asked)> {
    any_policy().prop_flat_map(|asked| {
        let calls = Just(asked.calls.clone()).prop_shuffle();
        (Just(asked), calls).prop_map(|(asked, calls)| (Asked { calls, ..asked.clone() }, asked))
    })
}

fn lost(plan: &Plan) -> Vec<String> {
    plan.lost().map(|lost| lost.to_string()).collect()
}

fn config() -> ProptestConfig {
    let mut config = ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() };
    if config.rng_seed == RngSeed::Random {
        config.rng_seed = RngSeed::Fixed(RandomState::new().hash_one(0));
    }
    // Seen where the test fails.
    println!("PROPTEST_RNG_SEED={}", config.rng_seed);
    config
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn joining_never_removes_what_is_handled_and_the_order_does_not_matter(
        one in any_policy(),
        two in any_policy(),
        kernel in any_kernel(),
    ) {
        let joined = one.requiring().join(two.requiring());
        let turned = two.requiring().join(one.requiring());
        let plan = joined.clone().require_nothing().plan(&kernel).unwrap();
        // What is granted for every port is not restricted, whoever grants it.
        let any = |call: &Call| if matches!(call, Call::Port(..)) { call.leaves_alone() } else { Rights::empty() };
        let granted: Rights = one.calls.iter().chain(&two.calls).map(any).collect();
        let handled = (one.requested() | two.requested()) - granted;
        prop_assert_eq!(plan.requested(), handled);
        prop_assert!(plan.enforced().contains((handled & of_kernel(&kernel)) - Rights::REFER));
        let turned_plan = turned.clone().require_nothing().plan(&kernel).unwrap();
        prop_assert_eq!(
            (plan.requested(), plan.enforced(), lost(&plan)),
            (turned_plan.requested(), turned_plan.enforced(), lost(&turned_plan))
        );
        // Where the joined one is enforced, each alone would be.
        let enforceable = |policy: &Policy| policy.plan(&kernel).is_ok();
        prop_assert_eq!(enforceable(&joined), enforceable(&turned));
        let required = (one.required() | two.required()) - granted;
        let strict = matches!(one.require, Require::Everything) || matches!(two.require, Require::Everything);
        let required = if strict { handled } else { required };
        prop_assert_eq!(
            enforceable(&joined),
            of_kernel(&kernel).contains(required)
        );
    }

    #[test]
    fn what_is_requested_is_enforced_or_lost_and_never_both(asked in any_policy(), kernel in any_kernel()) {
        let plan = asked.best_effort(&kernel);
        let lost: Rights = plan.lost().map(|lost| lost.right()).collect();
        prop_assert_eq!(plan.enforced() | lost, plan.requested());
        prop_assert!(!plan.enforced().intersects(lost));
        prop_assert_eq!(plan.lost().count(), lost.iter().count(), "each once");
    }

    #[test]
    fn what_is_lost_says_the_newer_abi_that_it_needs_or_why_there_is_none(
        asked in any_policy(),
        kernel in any_kernel(),
    ) {
        for lost in asked.best_effort(&kernel).lost() {
            match (kernel.abi(), lost.needs()) {
                (Ok(abi), Ok(needed)) => {
                    prop_assert!(needed > abi, "{} on {}", lost, abi);
                    prop_assert!(of_abi(needed.number()).contains(lost.right()), "{}", lost);
                    prop_assert!(!of_abi(needed.number() - 1).contains(lost.right()), "{}", lost);
                }
                (Err(why), Err(said)) => prop_assert_eq!(why, said),
                (_, said) => prop_assert!(false, "{:?}", said),
            }
        }
    }

    #[test]
    fn what_is_requested_is_all_of_the_abi_that_is_not_left_alone(
        asked in any_policy(),
        kernel in any_kernel(),
    ) {
        prop_assert_eq!(asked.best_effort(&kernel).requested(), asked.requested());
    }

    #[test]
    fn what_is_enforced_is_what_was_asked_and_the_kernel_has(asked in any_policy(), kernel in any_kernel()) {
        let mut expected = asked.requested() & of_kernel(&kernel);
        // ABI 1 refuses it by itself, where anything on files is restricted.
        if expected.intersects(of_paths()) {
            expected |= asked.requested() & Rights::REFER;
        }
        prop_assert_eq!(asked.best_effort(&kernel).enforced(), expected);
    }

    #[test]
    fn a_newer_kernel_never_enforces_less(asked in any_policy(), a in any_kernel(), b in any_kernel()) {
        let (old, new) = if number(&a) <= number(&b) { (a, b) } else { (b, a) };
        let (before, after) = (asked.best_effort(&old).enforced(), asked.best_effort(&new).enforced());
        prop_assert!(after.contains(before), "lost: {}", before - after);
        if asked.plan(&old).is_ok() {
            prop_assert!(asked.plan(&new).is_ok());
        }
    }

    #[test]
    fn a_kernel_newer_than_the_library_is_as_the_newest_it_knows(asked in any_policy()) {
        let known = asked.plan(&kernel(11));
        for abi in [12, 99] {
            match (&known, asked.plan(&kernel(abi))) {
                (Ok(known), Ok(plan)) => {
                    prop_assert_eq!(known.enforced(), plan.enforced());
                    prop_assert_eq!(lost(known), lost(&plan));
                }
                (known, plan) => prop_assert_eq!(known.is_ok(), plan.is_ok(), "{:?}", plan.err()),
            }
        }
    }

    #[test]
    fn what_is_required_and_lacking_is_the_error(asked in any_policy(), kernel in any_kernel()) {
        // Refer too is lacking on ABI 1: what the kernel refuses by itself no rule can allow.
        let lacking = asked.required() - of_kernel(&kernel);
        match asked.plan(&kernel) {
            Ok(plan) => {
                prop_assert!(lacking.is_empty(), "no error, but lacking: {}", lacking);
                prop_assert_eq!(plan.enforced(), asked.best_effort(&kernel).enforced());
            }
            Err(error) => {
                prop_assert!(error.is_unsupported(), "{}", error);
                prop_assert_eq!(error.rights().iter().collect::<Rights>(), lacking);
                prop_assert!(!lacking.is_empty());
                let text = error.to_string();
                match kernel.abi() {
                    Ok(_) => prop_assert!(lacking.names().all(|name| text.contains(name)), "{}", text),
                    Err(why) => prop_assert!(text.contains(&why.to_string()), "{}", text),
                }
            }
        }
    }

    #[test]
    fn nothing_but_what_is_required_decides_whether_it_is_an_error(
        asked in any_policy(),
        others in any_calls(),
        kernel in any_kernel(),
        errata in any_errata(),
    ) {
        let decides = |call: &&Call| !call.leaves_alone().is_empty();
        let mut calls: Vec<_> = others.iter().filter(|call| !decides(call)).cloned().collect();
        calls.extend(asked.calls.iter().filter(decides).cloned());
        let other = Asked { calls, ..asked };
        let error = |asked: &Asked, kernel: &Kernel| asked.plan(kernel).err().map(|e| e.to_string());
        prop_assert_eq!(error(&asked, &kernel), error(&other, &kernel.clone().with_errata(errata)));
    }

    #[test]
    fn the_order_does_not_matter((one, other) in in_two_orders(), kernel in any_kernel()) {
        match (one.plan(&kernel), other.plan(&kernel)) {
            (Ok(one), Ok(other)) => {
                prop_assert_eq!(one.requested(), other.requested());
                prop_assert_eq!(one.enforced(), other.enforced());
                prop_assert_eq!(lost(&one), lost(&other));
            }
            (one, other) => {
                prop_assert_eq!(one.map_err(|e| e.to_string()).err(), other.map_err(|e| e.to_string()).err());
            }
        }
    }
}

#[test]
fn each_right_is_enforced_from_the_abi_that_brought_it() {
    assert_eq!(Rights::all(), all());
    for (name, right, brought) in RIGHTS {
        assert!(right.names().eq([name]));
        let alone = Policy::new().unrestricted(all() - right).best_effort();
        for abi in ABIS {
            let plan = alone.plan(&kernel(abi)).unwrap();
            let linux = LINUX[brought as usize - 1];
            let (enforced, told) = if abi >= brought {
                (right, vec![])
            } else {
                (Rights::empty(), vec![format!("{name}: needs ABI {brought} (Linux {linux})")])
            };
            assert_eq!((plan.requested(), plan.enforced(), lost(&plan)), (right, enforced, told), "on {abi}");
        }
    }
}

#[test]
fn the_set_of_each_abi_is_whole_there_and_later_and_cut_before() {
    for abi in 1..=11 {
        for on in ABIS {
            let plan = for_abi(abi).best_effort().plan(&kernel(on)).unwrap();
            // Refer is refused on ABI 1 too.
            let mut enforced = of_abi(abi.min(on));
            if abi > 1 {
                enforced |= Rights::REFER;
            }
            assert_eq!((plan.requested(), plan.enforced()), (of_abi(abi), enforced), "{abi} on {on}");
            let whole = (of_abi(abi) - of_abi(on)).is_empty();
            assert_eq!(for_abi(abi).plan(&kernel(on)).is_ok(), whole, "{abi} on {on}");
        }
    }
}

#[test]
fn rules_ports_and_flags_go_where_the_kernel_lacks_what_they_need() {
    let policy = Policy::new()
        .rule(path("/refer").rights(Rights::REFER))
        .rule(path("/truncate").rights(Rights::TRUNCATE))
        .rule(path("/ioctl").rights(Rights::IOCTL_DEV))
        .unix("/unix")
        .bind_tcp(1)
        .connect_tcp(2)
        .bind_udp(3)
        .connect_udp(4)
        .rule(path("/some").rights(Rights::READ_FILE | Rights::TRUNCATE))
        .log(Log::NEW_EXEC_ON)
        .quiet(Rights::READ_FILE)
        .best_effort();
    for abi in ABIS {
        let text = policy.plan(&kernel(abi)).unwrap().to_string();
        for (line, from) in [
            ("\n    /some  read_file, truncate\n", 3),
            ("\n    /refer  ", 2),
            ("\n    /truncate  ", 3),
            ("\n    /ioctl  ", 5),
            ("\n    /unix  ", 9),
            ("\n    port 1  bind_tcp\n", 4),
            ("\n    port 2  connect_tcp\n", 4),
            ("\n    port 3  bind_udp\n", 10),
            ("\n    port 4  connect_send_udp\n", 10),
        ] {
            assert_eq!(text.contains(line), abi >= from, "{line} on {abi}:\n{text}");
        }
        for (note, before) in [
            ("\n    /some  read_file\n", 3),
            ("\n  note: log flags: left out; they need ABI 7 (Linux 6.15)\n", 7),
            ("\n  note: quiet: left out; it needs ABI 10 (Linux 7.2)\n", 10),
        ] {
            assert_eq!(text.contains(note), abi < before, "{note} on {abi}:\n{text}");
        }
    }
}
