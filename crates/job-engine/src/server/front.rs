//! What a listener answers: the dashboard's pages, and everything else by the [routes](super::routes).

use std::sync::Arc;

use http::{Request, Response};
use slipstream_dashboard::{Dashboard, route_of};

use super::Shared;
use super::auth::caller::Caller;
use super::http::Service;
use super::http::body::{self, Body};
use super::routes;

/// What answers requests, those for pages by the dashboard.
pub fn service(shared: Arc<Shared>, dashboard: Arc<Dashboard>) -> Service {
    let api = routes::service(shared.clone());
    Arc::new(move |request| {
        if Dashboard::is_at(request.uri().path()) {
            Box::pin(page(shared.clone(), dashboard.clone(), request))
        } else {
            api(request)
        }
    })
}

/// Who asks is found out by what the page asks of the API; until then it is anybody, who sends no more than that may.
async fn page(shared: Arc<Shared>, dashboard: Arc<Dashboard>, request: Request<Body>) -> Response<Body> {
    let (route, metrics) = (route_of(request.uri().path()), shared.metrics.clone());
    let work = async move |request: Request<Body>, _id| {
        let (head, body) = request.into_parts();
        let (bytes, _share) = body::read(body, &head.headers, &Caller::Anonymous, &shared.bodies).await?;
        Ok(dashboard.respond(Request::from_parts(head, bytes)).await)
    };
    routes::to_its_end(&metrics, route, request, work).await
}
