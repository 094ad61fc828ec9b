// Package deploy checks the files in deploy/ and compose.yaml by decoding them
// strictly, without running anything. What needs the programs themselves (Envoy,
// Prometheus) is checked by package compose.
package deploy
