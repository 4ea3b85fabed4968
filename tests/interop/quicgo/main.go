// quicgo is an edge of Penstock's tunnel on another QUIC (quic-go), written from api/tunnel.md: what the
// hub says to it is what the page says, not merely what our own edge understands.
//
//	PENSTOCK_TOKEN=... quicgo echo -port 8080 -streams 16 -bytes 1000000
//
// One scenario a run; its result is one line of JSON, its failure one line and exit status 1.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"
)

type options struct {
	instance  string
	port      int
	streams   int
	bytes     int
	pings     int
	revisions int
	say       string
}

func run(args []string) (any, error) {
	if len(args) == 0 || scenarios[args[0]] == nil {
		return nil, fmt.Errorf("usage: quicgo SCENARIO [flags]; scenarios: %d in scenarios.go", len(scenarios))
	}
	var o options
	flags := flag.NewFlagSet(args[0], flag.ExitOnError)
	flags.StringVar(&o.instance, "instance", "quicgo", "the edge's instance")
	flags.IntVar(&o.port, "port", 0, "the public port that clients seem to come to")
	flags.IntVar(&o.streams, "streams", 1, "streams at once")
	flags.IntVar(&o.bytes, "bytes", 1000, "bytes each way of a stream")
	flags.IntVar(&o.pings, "pings", 0, "hold: PINGs to answer")
	flags.IntVar(&o.revisions, "revisions", 0, "hold: configurations to take")
	flags.StringVar(&o.say, "say", "", "refused: what to send to the target")
	secs := flags.Int("secs", 60, "time limit")
	flags.Parse(args[1:])
	t, err := parseToken(os.Getenv("PENSTOCK_TOKEN"))
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(*secs)*time.Second)
	defer cancel()
	return scenarios[args[0]](ctx, t, o)
}

func main() {
	out, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "quicgo:", err)
		os.Exit(1)
	}
	fmt.Println(string(mustJSON(out)))
}
