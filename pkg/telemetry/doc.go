// Package telemetry makes what a program tells about itself: its logger, its
// metrics registry, its traces, its health and the admin server that shows them.
// Nothing in it is global; each is built once and handed to whoever needs it.
package telemetry
