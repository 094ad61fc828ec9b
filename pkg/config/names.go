package config

import (
	"slices"
	"strings"
)

// envPrefix begins the canonical variables: SAMSA_<SECTION>_<KEY>.
const envPrefix = "SAMSA_"

// FileVariable names the configuration file.
const FileVariable = "SAMSA_CONFIG"

// ownVariables lists what begins with the prefix and is no key: those of the command line
// client, and what tests use.
func ownVariables() []string {
	return []string{FileVariable, "SAMSA_ADDRESS", "SAMSA_TOKEN", "SAMSA_CA_FILE"}
}

// prototypeNames are the variables of Samsa's prototype that are not simply
// <SECTION>_<KEY>.
func prototypeNames() map[string]string {
	return map[string]string{
		"ETCD_ENDPOINTS":          "server.etcd_endpoints",
		"HEARTBEAT_INTERVAL_SECS": "server.heartbeat_interval_secs",
		"LEASE_TTL_SECS":          "server.lease_ttl_secs",
		"NODE_ID":                 "server.node_id",
		"DATABASE_NAME":           "database.database_name",
		"METRICS_PORT":            "observability.metrics_port",
		"LOG_LEVEL":               "observability.log_level",
		"SERVICE_NAME":            "observability.service_name",
		"ENABLE_OTEL_TRACING":     "observability.enable_otel_tracing",
		"OTEL_ENDPOINT":           "observability.otel_endpoint",
	}
}

// prototypeSections are those whose keys go by <SECTION>_<KEY> as well.
func prototypeSections() []string { return []string{"server", "storage", "database"} }

// names finds the key that a variable sets.
type names struct {
	canonical map[string]string
	prototype map[string]string
}

func namesOf(leaves []*leaf) names {
	n := names{canonical: map[string]string{}, prototype: map[string]string{}}
	for _, l := range leaves {
		plain := Variable(l.key)
		n.canonical[plain] = l.key
		if section, _, _ := strings.Cut(l.key, "."); slices.Contains(prototypeSections(), section) {
			n.prototype[strings.TrimPrefix(plain, envPrefix)] = l.key
		}
	}
	for variable, key := range prototypeNames() {
		if _, known := n.canonical[Variable(key)]; known {
			n.prototype[variable] = key
		}
	}
	return n
}

// Variable is the canonical environment variable of a key.
func Variable(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// injected reports variables that Kubernetes and Docker make up for every service
// that they see, such as SAMSA_ROUTER_PORT=tcp://10.0.0.7:8080.
func injected(variable, value string) bool {
	if strings.HasPrefix(value, "tcp://") || strings.HasPrefix(value, "udp://") {
		return true
	}
	for _, part := range []string{"_SERVICE_HOST", "_SERVICE_PORT", "_TCP_ADDR", "_TCP_PORT", "_TCP_PROTO", "_UDP_ADDR", "_UDP_PORT", "_UDP_PROTO"} {
		if strings.HasSuffix(variable, part) || strings.Contains(variable, part+"_") {
			return true
		}
	}
	return false
}

// nearest is the candidate most like a name, "" if none is much like it.
func nearest(name string, candidates []string) string {
	best, bestDistance := "", max(2, len(name)/3)+1
	for _, c := range candidates {
		if d := distance(name, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete or replace.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
