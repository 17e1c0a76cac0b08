//! Plans and runs queries.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::datasource::DefaultTableSource;
use datafusion::execution::context::SQLOptions;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement;
use parking_lot::RwLock;

use super::catalog::{CATALOG, SCHEMA, StateCatalog};
use super::contain::contain;
use super::delegated;
use super::error::planning;
use super::functions;
use super::guard::guarded;
use super::inverses;
use super::joins;
use super::last_rule;
use super::narrow;
use super::parse::parse;
use super::point::{Effort, PointPlan, Template, Texts, leaf_of, recognise};
use super::provider::{CacheTable, ExecutionState};
use super::results::{self, Keeper, Question, Reads, Results};
use super::size::Size;
use super::stack::Stack;
use super::stop::Stop;
use super::stream::QuerySource;
use super::threads::Threads;
use super::values;
use super::watch;
use super::zeros;
use crate::answer::batches::{AnswerInfo, Batches};
use crate::answer::certificate::Certificate;
use crate::answer::observed::Observed;
use crate::coverage::UpstreamSlot;
use crate::storage::{State, TableState, freshness};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::options::CacheOptions;
use crate::types::recorder::Recording;
use crate::types::value::Value;
use crate::types::version::{Freshness, Tier};

/// Says whether a query may read a table of a state, and who answers: `false` if its source does.
pub(crate) type Readable = dyn Fn(&State, &TableState) -> Result<bool> + Send + Sync;

/// The query engine of a cache; cloning shares it.
#[derive(Clone)]
pub(crate) struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    /// The settings and rules that every query has.
    base: SessionState,
    /// The same with rules that are checked at each step, for statements that may become large.
    guarded: SessionState,
    threads: Arc<Threads>,
    /// Which texts only look up keys.
    texts: Texts,
    /// Told when statements end.
    recording: Recording,
    /// Answers that were given before.
    results: Arc<Results>,
    /// The versions that plans of other contexts hold.
    #[cfg(feature = "datafusion")]
    pins: super::foreign::Pins,
    /// Where rows come from that are not held.
    upstream: UpstreamSlot,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Engine")
    }
}

impl Engine {
    pub(crate) fn new(options: CacheOptions, upstream: UpstreamSlot) -> Result<Self> {
        let recording = options.recording;
        let mut config = SessionConfig::new()
            .with_default_catalog_and_schema(CATALOG, SCHEMA)
            .with_create_default_catalog_and_schema(false)
            .with_information_schema(true)
            .with_target_partitions(options.query_threads);
        // A lookup gives an upper bound of its rows. Without this setting, only an exact number keeps a plan on one
        // thread.
        config.options_mut().execution.use_row_number_estimates_to_optimize_partitioning = true;
        let mut runtime =
            RuntimeEnvBuilder::new().with_memory_pool(Arc::new(FairSpillPool::new(options.query_memory)));
        if let Some(dir) = options.spill_dir {
            runtime = runtime.with_temp_file_path(dir);
        }
        let runtime = runtime.build_arc().map_err(planning)?;
        let mut physical_rules = inverses::physical_rules();
        physical_rules.extend(narrow::rules());
        physical_rules.extend(joins::rules());
        physical_rules.extend(last_rule::rules());
        let base = SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(runtime.clone())
            .with_default_features()
            .with_optimizer_rules(zeros::logical_rules())
            .with_physical_optimizer_rules(physical_rules);
        let base = functions::with_bounds(base, &runtime.memory_pool).build();
        let guarded = guarded(base.clone());
        let threads = Arc::new(Threads::new(options.query_threads));
        let results = Arc::new(Results::new(options.result_cache, recording.clone())?);
        let inner = Inner {
            base,
            guarded,
            threads,
            texts: Texts::new(),
            recording,
            results,
            upstream,
            #[cfg(feature = "datafusion")]
            pins: super::foreign::Pins::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The versions that plans of other contexts hold.
    #[cfg(feature = "datafusion")]
    pub(super) fn pins(&self) -> &super::foreign::Pins {
        &self.inner.pins
    }

    /// # Errors
    /// In a copy of the process that made the engine.
    pub(super) fn check_process(&self) -> Result<()> {
        self.inner.threads.check_process()
    }

    /// Whether two handles are handles of the same engine.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// What all statements take their memory from.
    pub(super) fn memory_pool(&self) -> &Arc<dyn MemoryPool> {
        &self.inner.base.runtime_env().memory_pool
    }

    /// Plans a query, which runs once somebody asks for its rows.
    ///
    /// # Errors
    /// Those of the query, and those of `readable`, which is asked for every table that it reads.
    pub(crate) fn query(
        &self,
        state: &Arc<State>,
        text: &str,
        parameters: &[Value],
        readable: &Readable,
    ) -> Result<Batches> {
        self.told(text, || self.query_untold(state, text, parameters, readable))
    }

    /// Tells when the statement ends that `begin` begins.
    fn told(&self, text: &str, begin: impl FnOnce() -> Result<Batches>) -> Result<Batches> {
        let Some(observed) = Observed::begin(&self.inner.recording, text) else { return begin() };
        told(observed, begin())
    }

    fn query_untold(
        &self,
        state: &Arc<State>,
        text: &str,
        parameters: &[Value],
        readable: &Readable,
    ) -> Result<Batches> {
        self.inner.threads.check_process()?;
        let template = Template::of(text);
        if let Some(template) = &template
            && let Some(answer) =
                self.inner.texts.answer(state, template, parameters, (readable, Effort::ANY))
        {
            return Ok(answer);
        }
        let question = self.inner.results.question(text, parameters);
        if let Some(answer) = self.inner.results.answer(state, question.as_ref(), (readable, Effort::ANY)) {
            return Ok(answer);
        }
        let session = self.session(state);
        let (statement, stack) = parse(&session, state, text)?;
        stack.run(|| {
            let planned = watch::planning(|| {
                let (plan, size) = plan(&session, state, text, statement)?;
                let planned = self.physical(session, state, plan, size, (parameters, readable))?;
                if let Some(template) = &template {
                    self.learn(state, template, parameters, &planned);
                }
                Ok(planned)
            });
            self.start(self.kept_under(question, planned?), stack)
        })
    }

    /// Runs a query if it is known not to need planning, nor time.
    #[cfg(feature = "sidecar")]
    pub(crate) fn query_known(
        &self,
        state: &Arc<State>,
        text: &str,
        parameters: &[Value],
        readable: &Readable,
    ) -> Result<Option<Batches>> {
        self.inner.threads.check_process()?;
        let observed = Observed::begin(&self.inner.recording, text);
        let template = Template::of(text);
        let answer = template.and_then(|template| {
            self.inner.texts.answer(state, &template, parameters, (readable, Effort::BRIEF))
        });
        let answer = answer.or_else(|| {
            let question = self.inner.results.question(text, parameters);
            self.inner.results.answer(state, question.as_ref(), (readable, Effort::BRIEF))
        });
        Ok(known(observed, answer))
    }

    /// Remembers whether statements like this one, which was planned, take the point path.
    fn learn(&self, state: &Arc<State>, template: &Template<'_>, parameters: &[Value], planned: &Planned) {
        // A null is no key, so the keys of this run show nothing.
        let Some(leaf) = leaf_of(&planned.physical).filter(|_| !parameters.contains(&Value::Null)) else {
            return;
        };
        let (table, texts) = (leaf.table(), &self.inner.texts);
        if texts.knows(template, table) {
            return;
        }
        let point = template.probe().and_then(|probe| {
            let session = self.session(state);
            let (statement, _) = parse(&session, state, &probe).ok()?;
            let (plan, _) = plan(&session, state, &probe, statement).ok()?;
            point_of(&session, plan, Some(template), parameters, planned)
        });
        texts.learn(template, table, point);
    }

    /// Plans a query as far as the plan does not depend on data, parameters or time.
    pub(crate) fn prepare(&self, state: &Arc<State>, text: &str) -> Result<PreparedPlan> {
        self.inner.threads.check_process()?;
        let session = self.session(state);
        let (statement, stack) = parse(&session, state, text)?;
        stack.run(|| {
            watch::planning(|| {
                let plan = plan(&session, state, text, statement)?;
                let parameters = parameter_types(&plan.0)?.len();
                let text = text.to_owned();
                let point = ArcSwapOption::empty();
                Ok(PreparedPlan { text, plan: RwLock::new(plan), point, parameters, stack })
            })
        })
    }

    /// Starts a prepared query; plans it anew if one of its tables was dropped.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub(crate) fn execute(
        &self,
        state: &Arc<State>,
        prepared: &PreparedPlan,
        parameters: &[Value],
        readable: &Readable,
    ) -> Result<Batches> {
        self.told(&prepared.text, || self.execute_untold(state, prepared, parameters, readable))
    }

    fn execute_untold(
        &self,
        state: &Arc<State>,
        prepared: &PreparedPlan,
        parameters: &[Value],
        readable: &Readable,
    ) -> Result<Batches> {
        if let Some(answer) = self.looked_up(state, prepared, parameters, (readable, Effort::ANY))? {
            return Ok(answer);
        }
        let stack = prepared.stack;
        stack.run(|| {
            let planned =
                watch::planning(|| self.physical_of_prepared(state, prepared, (parameters, readable)))?;
            let question = self.inner.results.question(&prepared.text, parameters);
            self.start(self.kept_under(question, planned), stack)
        })
    }

    /// Starts a prepared query if it is known not to need planning, nor time.
    #[cfg(feature = "sidecar")]
    pub(crate) fn execute_known(
        &self,
        state: &Arc<State>,
        prepared: &PreparedPlan,
        parameters: &[Value],
        readable: &Readable,
    ) -> Result<Option<Batches>> {
        let observed = Observed::begin(&self.inner.recording, &prepared.text);
        let answer = self.looked_up(state, prepared, parameters, (readable, Effort::BRIEF))?;
        Ok(known(observed, answer))
    }

    /// The answer of a prepared query if it is known not to need planning.
    fn looked_up(
        &self,
        state: &Arc<State>,
        prepared: &PreparedPlan,
        parameters: &[Value],
        bounds: (&Readable, Effort),
    ) -> Result<Option<Batches>> {
        self.inner.threads.check_process()?;
        let point = prepared.point.load();
        let plan = point.as_ref().and_then(|point| point.plan.as_ref());
        Ok(plan.and_then(|plan| plan.answer(state, parameters, &[], bounds)).or_else(|| {
            let question = self.inner.results.question(&prepared.text, parameters);
            self.inner.results.answer(state, question.as_ref(), bounds)
        }))
    }

    fn physical_of_prepared(
        &self,
        state: &Arc<State>,
        prepared: &PreparedPlan,
        given: (&[Value], &Readable),
    ) -> Result<Planned> {
        let session = self.session(state);
        let (mut plan, mut size) = prepared.plan.read().clone();
        let scans = scans(&plan)?;
        // A table that is not ours, such as one of the information schema, shows the moment at which it was planned.
        if !scans.iter().all(|table| table.is_some_and(|table| state.tables.contains_key(&table))) {
            let (statement, _) = parse(&session, state, &prepared.text)?;
            (plan, size) = self::plan(&session, state, &prepared.text, statement)?;
            *prepared.plan.write() = (plan.clone(), size);
        }
        let planned = self.physical(session, state, plan.clone(), size, given)?;
        if let Some(leaf) = leaf_of(&planned.physical)
            && !given.0.contains(&Value::Null)
            && prepared.point.load().as_ref().is_none_or(|known| known.table != leaf.table())
        {
            let point = point_of(&self.session(state), plan, None, given.0, &planned);
            let table = point.as_ref().map_or_else(|| leaf.table(), PointPlan::table);
            prepared.point.store(Some(Arc::new(Point { table, plan: point })));
        }
        Ok(planned)
    }

    pub(super) fn session(&self, state: &Arc<State>) -> SessionState {
        session(&self.inner.base, state, &self.inner.upstream)
    }

    pub(super) fn physical(
        &self,
        mut session: SessionState,
        state: &Arc<State>,
        plan: LogicalPlan,
        size: Size,
        (parameters, readable): (&[Value], &Readable),
    ) -> Result<Planned> {
        let (plan, oldest, elsewhere, reads) = contain(|| {
            let plan = bind(plan, parameters)?;
            let (oldest, elsewhere) = oldest(&plan, state, readable)?;
            let reads = self.inner.results.is_on().then(|| results::reads(&plan, state).map_err(planning));
            Ok::<_, Error>((plan, oldest, elsewhere, reads.transpose()?.flatten()))
        })??;
        if !size.is_plain() {
            session = self::session(&self.inner.guarded, state, &self.inner.upstream);
        }
        ask_elsewhere(&session, &elsewhere);
        if let Some(rows) = size.batch_rows(parameters, session.config().batch_size()) {
            *session.config_mut() = session.config().clone().with_batch_size(rows);
        }
        let handle = self.inner.threads.handle()?.clone();
        let plan_with = |session: &SessionState| {
            let physical = contain(|| {
                let _entered = handle.enter();
                pollster::block_on(session.create_physical_plan(&plan))
            });
            physical?.map_err(planning)
        };
        let physical = match plan_with(&session) {
            Ok(physical) => physical,
            // The planner computes with bounds, and such a computation may overflow although that of no row does. So
            // an error counts only if planning without bounds fails too.
            Err(error) if watch::is_over() || error.code() == ErrorCode::NotCovered => return Err(error),
            Err(_) => {
                tell_no_bounds(&mut session, state, &self.inner.upstream);
                ask_elsewhere(&session, &elsewhere);
                plan_with(&session)?
            }
        };
        let certificate = session
            .config()
            .get_extension::<ExecutionState>()
            .map_or_else(Certificate::default, |execution| {
                Certificate::new(std::mem::take(&mut *execution.certificates.lock()))
            });
        let info = AnswerInfo { version: state.version, freshness: oldest, tier: Tier::Local, certificate };
        let stop = Stop::default();
        let physical = stop.in_joins(physical).map_err(planning)?;
        Ok(Planned { physical, info, session, stop, reads, keeper: None })
    }

    /// Makes a query ready, which runs once somebody asks for its rows.
    pub(super) fn start(&self, planned: Planned, stack: Stack) -> Result<Batches> {
        let Planned { physical, mut info, session, stop, keeper, .. } = planned;
        // Its threads are there, so that whoever asks for rows finds them.
        self.inner.threads.handle()?;
        let execution = session.config().get_extension::<ExecutionState>();
        let here = execution.map(|execution| *execution.here.lock()).unwrap_or_default();
        delegated::begin(&physical, here, &mut info)?;
        let schema = physical.schema();
        let source =
            QuerySource::new((physical, session.task_ctx()), self.inner.threads.clone(), stack, stop);
        let source = self.inner.results.keeping(keeper, (&schema, &info), source);
        Ok(Batches::new(schema, info, source))
    }

    /// Has the answer of a query kept, if it can be.
    fn kept_under(&self, question: Option<Question>, mut planned: Planned) -> Planned {
        planned.keeper = self.inner.results.keeper(question, planned.reads.take());
        planned
    }
}

/// Tells the end of a statement: that of its answer, or that it failed.
fn told(mut observed: Box<Observed>, begun: Result<Batches>) -> Result<Batches> {
    match begun {
        Ok(answer) => Ok(answer.observed(observed)),
        Err(error) => {
            observed.failed(error.code());
            Err(error)
        }
    }
}

/// Tells the end of a statement if it is answered here; otherwise another call answers it, and tells.
#[cfg(feature = "sidecar")]
fn known(observed: Option<Box<Observed>>, answer: Option<Batches>) -> Option<Batches> {
    match (observed, answer) {
        (Some(observed), Some(answer)) => Some(answer.observed(observed)),
        (Some(observed), None) => {
            observed.left();
            None
        }
        (None, answer) => answer,
    }
}

/// From now on scans of these tables read their sources.
fn ask_elsewhere(session: &SessionState, tables: &[u64]) {
    if let Some(execution) = session.config().get_extension::<ExecutionState>().filter(|_| !tables.is_empty())
    {
        *execution.elsewhere.lock() = tables.to_vec();
    }
}

/// From now on scans do not report the bounds of their columns to the planner.
fn tell_no_bounds(session: &mut SessionState, state: &Arc<State>, upstream: &UpstreamSlot) {
    let execution = ExecutionState::new(state.clone(), false, upstream.clone());
    session.config_mut().set_extension(Arc::new(execution));
}

/// What remains to be done for a statement if it takes the point path. `plan` is its plan, `planned` that of one run with
/// these parameters.
fn point_of(
    session: &SessionState,
    plan: LogicalPlan,
    template: Option<&Template<'_>>,
    parameters: &[Value],
    planned: &Planned,
) -> Option<PointPlan> {
    let analyzed =
        contain(|| session.analyzer().execute_and_check(plan, session.config_options(), |_, _| ()));
    let point = recognise(&analyzed.ok()?.ok()?, template, parameters.len(), planned.physical.schema())?;
    // DataFusion's plan of this run must read the same rows.
    let literals = template.map_or(&[][..], |template| &template.literals);
    point.agrees(parameters, literals, &planned.physical).then_some(point)
}

/// A query that is ready to run.
pub(super) struct Planned {
    physical: Arc<dyn ExecutionPlan>,
    info: AnswerInfo,
    session: SessionState,
    stop: Stop,
    /// The tables that alone decide the answer, if answers are kept and this one can be.
    reads: Option<Reads>,
    keeper: Option<Keeper>,
}

fn session(base: &SessionState, state: &Arc<State>, upstream: &UpstreamSlot) -> SessionState {
    let mut session = base.clone();
    let execution = ExecutionState::new(state.clone(), true, upstream.clone());
    session.config_mut().set_extension(Arc::new(execution));
    session.register_catalog_list(Arc::new(StateCatalog::new(state.clone())));
    session.mark_start_execution();
    session
}

/// A query that was planned as far as the plan does not depend on data, parameters or time.
#[derive(Debug)]
pub(crate) struct PreparedPlan {
    text: String,
    plan: RwLock<(LogicalPlan, Size)>,
    point: ArcSwapOption<Point>,
    parameters: usize,
    stack: Stack,
}

/// Whether a statement takes the point path over a table, and what remains to be done then.
#[derive(Debug)]
struct Point {
    table: u64,
    plan: Option<PointPlan>,
}

impl Drop for PreparedPlan {
    fn drop(&mut self) {
        let plan = std::mem::take(&mut self.plan.get_mut().0);
        self.stack.run(|| drop(plan));
    }
}

impl PreparedPlan {
    /// Number of its parameters.
    pub(crate) fn parameters(&self) -> usize {
        self.parameters
    }

    /// Columns of its answers and types of its parameters, as far as they follow from the plan.
    pub(crate) fn columns(&self) -> Option<(SchemaRef, Vec<Option<DataType>>)> {
        let plan = &self.plan.read().0;
        self.stack.run(|| Some((plan.schema().inner().clone(), parameter_types(plan).ok()?)))
    }
}

/// The plan of a statement that reads, and how large it may become.
fn plan(
    session: &SessionState,
    state: &State,
    text: &str,
    statement: Statement,
) -> Result<(LogicalPlan, Size)> {
    let plan = plan_of(session, state, text, statement, None)?;
    let reads_only =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    reads_only.verify_plan(&plan).map_err(|error| {
        Error::new(
            ErrorCode::Unsupported,
            "only statements that read are supported here: queries, EXPLAIN, SHOW and DESCRIBE; \
             `execute` runs those that change tables",
        )
        .with_source(error)
    })?;
    sized(session, plan)
}

/// The plan of a statement, which may define the table `defined`.
pub(super) fn plan_of(
    session: &SessionState,
    state: &State,
    text: &str,
    statement: Statement,
    defined: Option<&str>,
) -> Result<LogicalPlan> {
    let plan = contain(|| pollster::block_on(session.statement_to_plan(statement)))?;
    plan.map_err(|error| unknown_table(session, state, text, defined).unwrap_or_else(|| planning(error)))
}

/// A plan that reads, and how large it may become.
pub(super) fn sized(session: &SessionState, plan: LogicalPlan) -> Result<(LogicalPlan, Size)> {
    let size = Size::of(&plan).map_err(planning)?;
    if !size.joins_texts {
        return Ok((plan, size));
    }
    let plan = functions::bind_operators(session, plan).map_err(planning)?;
    Ok((plan, size))
}

/// The error for the first table of a statement that does not exist; it names the nearest existing one.
fn unknown_table(session: &SessionState, state: &State, text: &str, defined: Option<&str>) -> Option<Error> {
    let dialect = session.config_options().sql_parser.dialect;
    let statement = session.sql_to_statement(text, &dialect).ok()?;
    let references = session.resolve_table_references(&statement).ok()?;
    let mut ours = references.iter().filter(|reference| {
        reference.schema().is_none_or(|schema| schema == SCHEMA) && Some(reference.table()) != defined
    });
    ours.find_map(|reference| state.table(reference.table()).err())
}

/// Types of the parameters $1, $2, … as far as they follow from the plan.
fn parameter_types(plan: &LogicalPlan) -> Result<Vec<Option<DataType>>> {
    let named = plan.get_parameter_types().map_err(planning)?;
    let mut types = vec![None; named.len()];
    for (name, data_type) in named {
        let number = name.strip_prefix('$').and_then(|number| number.parse::<usize>().ok());
        let slot = number.and_then(|number| types.get_mut(number.checked_sub(1)?));
        let slot = slot.ok_or_else(|| {
            let message = format!("parameter {name}: parameters are $1, $2, … without gaps");
            Error::new(ErrorCode::InvalidParameter, message)
        })?;
        *slot = data_type;
    }
    Ok(types)
}

fn bind(plan: LogicalPlan, parameters: &[Value]) -> Result<LogicalPlan> {
    let types = parameter_types(&plan)?;
    if types.len() != parameters.len() {
        return Err(Error::new(
            ErrorCode::InvalidParameter,
            format!("the statement takes {} parameters and was given {}", types.len(), parameters.len()),
        ));
    }
    if types.is_empty() {
        return Ok(plan);
    }
    let scalars = types.iter().zip(parameters).enumerate();
    let scalars: Vec<ScalarValue> = scalars
        .map(|(index, (data_type, value))| values::parameter(index + 1, value, data_type.as_ref()))
        .collect::<Result<_>>()?;
    plan.replace_params_with_values(&ParamValues::from(scalars)).map_err(planning)
}

/// The numbers of the tables that a plan reads; `None` for each table that is not one of the cache.
fn scans(plan: &LogicalPlan) -> Result<Vec<Option<u64>>> {
    let mut scans = Vec::new();
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let source = scan.source.downcast_ref::<DefaultTableSource>();
            let table = source.and_then(|source| source.table_provider.downcast_ref::<CacheTable>());
            scans.push(table.map(CacheTable::id));
        }
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map_err(planning)?;
    Ok(scans)
}

/// The freshness of the oldest table that a plan reads, if each of them can be read, and the tables whose sources are to be asked.
fn oldest(plan: &LogicalPlan, state: &State, readable: &Readable) -> Result<(Option<Freshness>, Vec<u64>)> {
    let scans = scans(plan)?;
    let (mut oldest, mut elsewhere): (Option<Freshness>, _) = (None, Vec::new());
    for table in scans.iter().flatten().filter_map(|table| state.tables.get(table)) {
        if !readable(state, table)? {
            elsewhere.push(table.shape.id);
        } else if let Some(freshness) = freshness(table) {
            oldest = Some(oldest.map_or(freshness, |oldest| oldest.older(freshness)));
        }
    }
    Ok((oldest, elsewhere))
}
