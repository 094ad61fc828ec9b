package service

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// healthCommand is the first argument that makes a program ask the running one,
// with the same configuration, how it does: for health checks in images that
// have no shell.
const healthCommand = "health"

// healthTimeout is shorter than the time-outs of those who run health checks.
const healthTimeout = 2 * time.Second

// askHealth prints what /readyz of the program on this host answers; the exit
// code says whether it is ready. Degraded is ready.
func askHealth(c *Config, stdout, stderr io.Writer) int {
	if c.Observability.MetricsPort <= 0 {
		fmt.Fprintln(stderr, "health: observability.metrics_port names no port to ask at; set it to a fixed one")
		return ExitUsage
	}
	ctx, cancel := context.WithTimeout(context.Background(), healthTimeout)
	defer cancel()
	ready, err := fetchReadiness(ctx, "http://"+adminAddress(c)+"/readyz", stdout)
	if err != nil {
		fmt.Fprintf(stderr, "health: %v\n", err)
	}
	if err != nil || !ready {
		return ExitFailed
	}
	return ExitOK
}

func fetchReadiness(ctx context.Context, url string, answer io.Writer) (bool, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false, err
	}
	// No proxy of the environment stands between a program and itself.
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		return false, err
	}
	defer response.Body.Close()
	if _, err := io.Copy(answer, response.Body); err != nil {
		return false, err
	}
	return response.StatusCode == http.StatusOK, nil
}

// adminAddress is where the admin server is reached from the same host.
func adminAddress(c *Config) string {
	host := c.Server.Address
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, strconv.Itoa(c.Observability.MetricsPort))
}
