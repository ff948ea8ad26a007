//! [`FanOut`]: a job for each document of a search. [`Choice`] decides which documents get one; it is pure.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;
use slipstream_cimi::dialect::JOB;
use slipstream_cimi::filter::{Attribute, Comparison, Filter, Literal, values_at};
use slipstream_cimi::job::NewJob;
use slipstream_cimi::overview::distributors::LeftOut;
use slipstream_cimi::query::{Collection, Search};
use slipstream_cimi::resource::is_id;
use slipstream_cimi::{Client, Document, Error, State};

use super::template::{self, Missing, Template, TextTemplate};

/// Documents of one page of a search.
const PAGE: i64 = 1_000;
/// Longest target in bytes: with the distributor's name and the time of the round it makes a key (decision 11).
pub const LONGEST_TARGET: usize = 100;

/// Which documents a round's jobs are for.
#[derive(Clone, Debug, PartialEq)]
pub struct FanOut {
    /// The collection that is searched, e.g. `credential`.
    pub collection: String,
    /// Which of its documents; all without one. In the filter language.
    pub filter: Option<String>,
    /// No job for a target for which one of the same action is in one of these states.
    pub unless: Vec<State>,
    /// Only the first document, in order of id, of those with the same value at this path.
    pub once_per: Option<String>,
    /// Over which share of the time until the next round the jobs are spread, above 0 and up to 1; all at once without it.
    pub spread: Option<f64>,
}

/// What the jobs of a distributor are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobTemplate {
    /// Their action.
    pub action: String,
    /// What they work on.
    pub target: Option<TextTemplate>,
    /// From 0 (first) to 999 (last).
    pub priority: Option<u16>,
    /// What their action is told besides; an object.
    pub payload: Option<Template>,
    /// Whether they have the document's access control list.
    pub has_acl_of_document: bool,
}

/// The jobs of one round, and which documents get none.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// At most one for each target.
    pub jobs: Vec<NewJob>,
    /// Documents that were found.
    pub found: u64,
    /// Those that get no job.
    pub left_out: LeftOut,
}

impl JobTemplate {
    /// The job for this document.
    fn fill(&self, document: &Document) -> Result<NewJob, Missing> {
        let payload = self.payload.as_ref().map(|payload| payload.fill(document)).transpose()?;
        Ok(NewJob {
            action: self.action.clone(),
            target: self.target.as_ref().map(|target| target.fill(document)).transpose()?,
            priority: self.priority,
            payload: payload.and_then(|payload| match payload {
                Value::Object(members) => Some(members),
                _ => None,
            }),
            acl: document.get("acl").filter(|_| self.has_acl_of_document).cloned(),
        })
    }

    /// The one job of a round that is for no document.
    #[must_use]
    pub fn alone(&self) -> Plan {
        let job = self.fill(&Document::new()).expect("a template without a search has no places, or it is refused");
        Plan { jobs: vec![job], ..Plan::default() }
    }

    /// The attributes that it needs, by the first name of their paths.
    #[must_use]
    pub fn needs(&self) -> BTreeSet<String> {
        let mut needed = BTreeSet::new();
        self.target.iter().for_each(|target| target.needs(&mut needed));
        self.payload.iter().for_each(|payload| payload.needs(&mut needed));
        needed
    }
}

impl FanOut {
    /// Searches, page by page, and answers the jobs for what was found. Which jobs are there already is asked once, and not
    /// for each target.
    pub async fn plan(&self, job: &JobTemplate, client: &Client) -> Result<Plan, Error> {
        let mut choice = Choice { waiting: self.waiting(&job.action, client).await?, ..Choice::new(self, job) };
        let mut needed = job.needs();
        needed.extend(self.once_per.as_deref().map(|path| template::top(path).to_owned()));
        let select = needed.into_iter().chain(["id".to_owned()]).collect();
        let search = Search { filter: self.filter.clone(), select, ..Search::default() };
        each(client, &self.collection, search, |document| choice.take(&document)).await?;
        Ok(choice.plan)
    }

    /// Targets for which a job is in a state that leaves them out.
    async fn waiting(&self, action: &str, client: &Client) -> Result<HashSet<String>, Error> {
        let mut targets = HashSet::new();
        if self.unless.is_empty() {
            return Ok(targets);
        }
        let is = |path: &str, text: &str| {
            Filter::Compare(Attribute(path.to_owned()), Comparison::Equal, Literal::Text(text.to_owned()))
        };
        let states = Filter::Any(self.unless.iter().map(|state| is("state", state.as_str())).collect());
        let filter = Filter::All(vec![is("action", action), states]).to_string();
        let search =
            Search { filter: Some(filter), select: vec!["targetResource".to_owned()], ..Search::default() };
        let href = Attribute("targetResource/href".to_owned());
        each(client, JOB.name, search, |job| {
            targets.extend(values_at(&job, &href).into_iter().filter_map(Value::as_str).map(str::to_owned));
        })
        .await?;
        Ok(targets)
    }
}

/// Shows all documents of a search, in order of id.
async fn each(client: &Client, kind: &str, search: Search, mut see: impl FnMut(Document)) -> Result<(), Error> {
    let (mut after, mut seen) = (None, 0_u64);
    loop {
        let search = Search { last: Some(PAGE), after, ..search.clone() };
        let is_first = search.after.is_none();
        let Collection { count, documents, next, .. } = client.search(kind, &search).await?;
        seen += documents.len() as u64;
        documents.into_iter().for_each(&mut see);
        after = next;
        if after.is_none() {
            // a server that is none of ours
            if is_first && seen < count {
                tracing::warn!(collection = kind, seen, count, "the server has no next page, the other documents are not seen");
            }
            return Ok(());
        }
    }
}

/// Which documents get a job, one after the other.
struct Choice<'a> {
    of: &'a FanOut,
    job: &'a JobTemplate,
    waiting: HashSet<String>,
    /// Values at `once_per` that were there.
    values: HashSet<String>,
    /// Targets that were there.
    targets: HashSet<String>,
    plan: Plan,
}

impl<'a> Choice<'a> {
    fn new(of: &'a FanOut, job: &'a JobTemplate) -> Self {
        let (waiting, values, targets) = (HashSet::new(), HashSet::new(), HashSet::new());
        Self { of, job, waiting, values, targets, plan: Plan::default() }
    }

    fn take(&mut self, document: &Document) {
        self.plan.found += 1;
        let id = document.get("id").and_then(Value::as_str).unwrap_or("a document without id");
        let value = self.of.once_per.as_deref().map(|path| template::text_of(path, document)).transpose();
        let (value, job) = match (value, self.job.fill(document)) {
            (Ok(value), Ok(job)) => (value, job),
            (Err(Missing(path)), _) | (_, Err(Missing(path))) => {
                return self.incomplete(format!("{id} has no `{path}`"));
            }
        };
        let target = job.target.clone().unwrap_or_default();
        if !is_id(&target) || target.len() > LONGEST_TARGET {
            return self.incomplete(format!(
                "`{target}` of {id} is not the id of a resource of up to {LONGEST_TARGET} characters"
            ));
        }
        let left_out = &mut self.plan.left_out;
        if value.is_some_and(|value| !self.values.insert(value)) || !self.targets.insert(target.clone()) {
            left_out.repeated += 1;
        } else if self.waiting.contains(&target) {
            left_out.under_way += 1;
        } else {
            self.plan.jobs.push(job);
        }
    }

    fn incomplete(&mut self, why: String) {
        self.plan.left_out.incomplete += 1;
        self.plan.left_out.first.get_or_insert(why);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn job() -> JobTemplate {
        JobTemplate {
            action: "collect".to_owned(),
            target: Some(TextTemplate::parse("{id}").unwrap()),
            priority: Some(5),
            payload: None,
            has_acl_of_document: false,
        }
    }

    fn fan_out() -> FanOut {
        FanOut { collection: "credential".to_owned(), filter: None, unless: Vec::new(), once_per: None, spread: None }
    }

    fn choose(of: &FanOut, job: &JobTemplate, waiting: &[&str], documents: Value) -> Plan {
        let waiting = waiting.iter().map(|target| (*target).to_owned()).collect();
        let mut choice = Choice { waiting, ..Choice::new(of, job) };
        for document in documents.as_array().unwrap() {
            choice.take(document.as_object().unwrap());
        }
        choice.plan
    }

    fn targets(plan: &Plan) -> Vec<&str> {
        plan.jobs.iter().filter_map(|job| job.target.as_deref()).collect()
    }

    #[test]
    fn each_document_gets_a_job_unless_one_is_under_way() {
        let documents = json!([{"id": "credential/1"}, {"id": "credential/2"}, {"id": "credential/3"}]);
        let plan = choose(&fan_out(), &job(), &["credential/2", "credential/9"], documents);
        assert_eq!(targets(&plan), ["credential/1", "credential/3"]);
        assert_eq!((plan.found, plan.left_out), (3, LeftOut { under_way: 1, ..LeftOut::default() }));
        assert_eq!((plan.jobs[0].priority, &plan.jobs[0].acl), (Some(5), &None));
    }

    /// As in the original, one that is left out as its job is under way keeps the others of its value out as well.
    #[test]
    fn one_document_of_a_value_gets_a_job_the_first() {
        let of = FanOut { once_per: Some("key".to_owned()), ..fan_out() };
        let documents = json!([
            {"id": "credential/1", "key": "a"}, {"id": "credential/2", "key": "b"}, {"id": "credential/3", "key": "a"},
            {"id": "credential/4", "key": "b"}, {"id": "credential/5"}, {"id": "credential/6", "key": 7},
        ]);
        let plan = choose(&of, &job(), &["credential/2"], documents);
        assert_eq!(targets(&plan), ["credential/1", "credential/6"]);
        let first = Some("credential/5 has no `key`".to_owned());
        assert_eq!(plan.left_out, LeftOut { under_way: 1, repeated: 2, incomplete: 1, first });
    }

    #[test]
    fn a_document_that_lacks_something_is_left_out_and_counted() {
        let payload = Some(Template::parse(json!({"connector": "{connector/href}"})).unwrap());
        let job = JobTemplate { target: Some(TextTemplate::parse("{machine}").unwrap()), payload, ..job() };
        let whole = |machine: &str| json!({"id": "x/1", "machine": machine, "connector": {"href": "connector/a"}});
        let long = "a".repeat(LONGEST_TARGET + 1);
        let documents = json!([
            whole("machine/1"), {"id": "x/2", "machine": "machine/2"}, whole("no id!"), whole(&long), whole("machine/1"),
        ]);
        let plan = choose(&fan_out(), &job, &[], documents);
        assert_eq!(targets(&plan), ["machine/1"]);
        let payload = plan.jobs[0].payload.clone().map(Value::Object);
        assert_eq!(payload, Some(json!({"connector": "connector/a"})));
        let first = Some("x/2 has no `connector/href`".to_owned());
        assert_eq!(plan.left_out, LeftOut { under_way: 0, repeated: 1, incomplete: 3, first });
    }

    #[test]
    fn a_job_may_have_the_documents_access_control_list() {
        let acl = json!({"owner": {"principal": "jane", "type": "USER"}});
        let job = JobTemplate { has_acl_of_document: true, ..job() };
        let plan = choose(&fan_out(), &job, &[], json!([{"id": "credential/1", "acl": acl}]));
        assert_eq!(plan.jobs[0].acl, Some(acl));
    }
}
