//! Runs one plan and logs one line for it.

use lambda_runtime::{Context, Error};
use mono_sync::app::refresh_planner::{PlanCounts, Planner};
use mono_sync::lambda::invocation::Invocation;
use mono_sync::lambda::telemetry;

pub(crate) async fn plan(planner: &Planner, context: &Context) -> Result<PlanCounts, Error> {
    let invocation = Invocation::new(context.request_id.clone(), context.deadline);
    let plan = planner.plan(&invocation).await?;
    telemetry::summary(&invocation.request_id, &plan);
    if plan.failed > 0 {
        return Err(format!("{} parts of the plan failed", plan.failed).into());
    }
    Ok(plan)
}
