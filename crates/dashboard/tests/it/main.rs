//! The pages over an API that answers as it is told, without a browser.

mod bulk;
mod html;
mod live;
mod notices;
mod overview;
mod pages;
mod properties;
mod scripted;
