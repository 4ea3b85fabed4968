// What the lane is made to do; each function is one run of the program, driven by test_quicgo.py.
package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	retransmitAfter  = 2 * time.Second
	deafSources      = 4 // addresses, each below the hub's limit of handshakes of one source
	deafPerSource    = 24
	wrongProofAtOnce = 900 * time.Millisecond
)

type scenario func(context.Context, token, options) (any, error)

var scenarios = map[string]scenario{
	"echo":         echo,
	"split":        split,
	"client-first": clientFirst,
	"target-first": targetFirst,
	"refused":      refused,
	"reset":        reset,
	"stop":         stop,
	"wrong-proof":  wrongProof,
	"no-line":      noLine,
	"retry":        retry,
	"hold":         hold,
	"udp-echo":     udpEcho,
	"udp-refused":  udpRefused,
}

// leave is GOODBYE, and the wait until the hub has it: then it closes.
func (e *edge) leave() error {
	err := e.send(msgGoodbye, mustJSON(goodbye{Code: "draining", Message: "the test is over"}))
	if err == nil {
		select {
		case <-e.conn.Context().Done():
		case <-time.After(5 * time.Second):
			err = errors.New("the hub did not close after GOODBYE")
		}
	}
	e.close(0, "")
	return err
}

// with runs f on a lane, and leaves in order.
func with(ctx context.Context, t token, o options, f func(*edge) (any, error)) (any, error) {
	e, err := dial(ctx, t, dialOptions{instance: o.instance})
	if err != nil {
		return nil, err
	}
	out, err := f(e)
	if left := e.leave(); err == nil {
		err = left
	}
	return out, err
}

func sendAll(s *quic.Stream, data []byte, hash io.Writer) error {
	hash.Write(data)
	if _, err := s.Write(data); err != nil {
		return err
	}
	return s.Close()
}

// echo: as many bytes each way on each of many streams at once, their sums compared.
func echo(ctx context.Context, t token, o options) (any, error) {
	return with(ctx, t, o, func(e *edge) (any, error) {
		failures := make(chan error, o.streams)
		for range o.streams {
			go func() { failures <- e.echoOnce(ctx, o.port, o.bytes) }()
		}
		var err error
		for range o.streams {
			err = errors.Join(err, <-failures)
		}
		stats := e.conn.ConnectionStats()
		return map[string]any{"streams": o.streams, "bytes": o.bytes, "session": e.answer.Session,
			"packetsSent": stats.PacketsSent, "packetsLost": stats.PacketsLost}, err
	})
}

func (e *edge) echoOnce(ctx context.Context, port int, n int) error {
	s, err := e.open(ctx, port)
	if err != nil {
		return err
	}
	data := make([]byte, n)
	rand.Read(data)
	sent, got := sha256.New(), sha256.New()
	var upload error
	var wait sync.WaitGroup
	wait.Add(1)
	go func() {
		defer wait.Done()
		upload = sendAll(s, data, sent)
	}()
	count, err := io.Copy(got, s)
	wait.Wait()
	if err = errors.Join(upload, err); err != nil {
		return fmt.Errorf("stream %d, after %d bytes: %w", s.StreamID(), count, err)
	}
	if string(sent.Sum(nil)) != string(got.Sum(nil)) {
		return fmt.Errorf("stream %d: other bytes came back (%d of %d)", s.StreamID(), count, n)
	}
	return nil
}

// split: the line that begins a stream comes a byte a packet; what is between two of them is a whole
// echo on another stream, so that no two bytes share one.
func split(ctx context.Context, t token, o options) (any, error) {
	return with(ctx, t, o, func(e *edge) (any, error) {
		s, err := e.conn.OpenStreamSync(ctx)
		if err != nil {
			return nil, err
		}
		line := proxyLine(o.port, 45678)
		for _, b := range line {
			if _, err = s.Write([]byte{b}); err != nil {
				return nil, err
			}
			if err = e.echoOnce(ctx, o.port, 100); err != nil {
				return nil, err
			}
		}
		if _, err = s.Write([]byte("behind the line")); err != nil {
			return nil, err
		}
		s.Close()
		got, err := io.ReadAll(s)
		return map[string]any{"got": string(got), "pieces": len(line)}, err
	})
}

// clientFirst: our FIN, then everything that the target says.
func clientFirst(ctx context.Context, t token, o options) (any, error) {
	return with(ctx, t, o, func(e *edge) (any, error) {
		s, err := e.open(ctx, o.port)
		if err != nil {
			return nil, err
		}
		data, sent := make([]byte, o.bytes), sha256.New()
		rand.Read(data)
		if err = sendAll(s, data, sent); err != nil {
			return nil, err
		}
		got, err := io.ReadAll(s)
		return map[string]any{"sha256": fmt.Sprintf("%x", sent.Sum(nil)), "got": string(got[:min(len(got), 64)]),
			"bytes": len(got)}, err
	})
}

// targetFirst: the target's FIN, then everything that we have to say.
func targetFirst(ctx context.Context, t token, o options) (any, error) {
	return with(ctx, t, o, func(e *edge) (any, error) {
		s, err := e.open(ctx, o.port)
		if err != nil {
			return nil, err
		}
		got, err := io.ReadAll(s)
		if err != nil {
			return nil, err
		}
		data, sent := make([]byte, o.bytes), sha256.New()
		rand.Read(data)
		err = sendAll(s, data, sent)
		if err == nil { // until all is acknowledged: leaving would throw the rest away
			select {
			case <-s.Context().Done():
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		return map[string]any{"sha256": fmt.Sprintf("%x", sent.Sum(nil)), "got": string(got)}, err
	})
}

// ends is how both directions of a stream ended, when the hub ended it.
func ends(ctx context.Context, s *quic.Stream) map[string]any {
	_, err := io.ReadAll(s)
	out := map[string]any{"read": codeOf(err)}
	select {
	case <-s.Context().Done():
		out["write"] = codeOf(context.Cause(s.Context()))
	case <-ctx.Done():
		out["write"] = ctx.Err().Error()
	}
	return out
}

func codeOf(err error) any {
	var stream *quic.StreamError
	if errors.As(err, &stream) && stream.Remote {
		return int(stream.ErrorCode)
	}
	return fmt.Sprint(err)
}

// refused: a stream that the hub, or its target, resets.
func refused(ctx context.Context, t token, o options) (any, error) {
	return with(ctx, t, o, func(e *edge) (any, error) {
		s, err := e.open(ctx, o.port)
		if err != nil {
			return nil, err
		}
		if o.say != "" {
			if _, err = s.Write([]byte(o.say)); err != nil {
				return nil, err
			}
		}
		return ends(ctx, s), nil
	})
}

// echoThen does something to a stream that works.
func echoThen(ctx context.Context, t token, o options, f func(*quic.Stream) any) (any, error) {
	return with(ctx, t, o, func(e *edge) (any, error) {
		s, err := e.open(ctx, o.port)
		if err != nil {
			return nil, err
		}
		var back [4]byte
		if _, err = s.Write([]byte("ping")); err != nil {
			return nil, err
		}
		if _, err = io.ReadFull(s, back[:]); err != nil {
			return nil, err
		}
		out := f(s)
		return out, e.echoOnce(ctx, o.port, 1000) // nobody else is harmed
	})
}

// reset: the client's RST, both directions.
func reset(ctx context.Context, t token, o options) (any, error) {
	return echoThen(ctx, t, o, func(s *quic.Stream) any {
		s.CancelWrite(codeReset)
		s.CancelRead(codeReset)
		return nil
	})
}

// stop: STOP_SENDING alone.  The hub sees it when it has something to send (its QUIC tells it no
// earlier), here the target's echo; then it wants nothing of ours either.
func stop(ctx context.Context, t token, o options) (any, error) {
	return echoThen(ctx, t, o, func(s *quic.Stream) any {
		s.CancelRead(codeReset)
		if _, err := s.Write([]byte("more")); err != nil {
			return map[string]any{"write": err.Error()}
		}
		<-s.Context().Done()
		return map[string]any{"write": codeOf(context.Cause(s.Context()))}
	})
}

func wrongProof(ctx context.Context, t token, o options) (any, error) {
	began := time.Now()
	e, err := dial(ctx, t, dialOptions{instance: o.instance, spoil: true})
	took := time.Since(began)
	if err == nil {
		return nil, errors.Join(errors.New("the hub took a wrong proof"), e.leave())
	}
	var r *refusal
	if !errors.As(err, &r) {
		return nil, err
	}
	if took < wrongProofAtOnce {
		return nil, fmt.Errorf("refused after %v already", took)
	}
	return map[string]any{"code": r.Code}, nil
}

// noLine: a stream that does not begin with a PROXY line breaks the lane.
func noLine(ctx context.Context, t token, o options) (any, error) {
	e, err := dial(ctx, t, dialOptions{instance: o.instance})
	if err != nil {
		return nil, err
	}
	defer e.close(0, "")
	s, err := e.conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	if _, err = s.Write([]byte("GET / HTTP/1.1\r\n\r\n")); err != nil {
		return nil, err
	}
	if err = e.wait(ctx, "GOODBYE", func() bool { return e.goodbye != nil }); err != nil {
		return nil, err
	}
	select {
	case <-e.conn.Context().Done():
	case <-ctx.Done():
		return nil, errors.New("GOODBYE, but the hub does not close")
	}
	return map[string]any{"code": e.goodbye.Code}, nil
}

// retry: handshakes that never end, from several addresses, until the hub wants addresses proved; then
// an honest one, which must get in all the same.
func retry(ctx context.Context, t token, o options) (any, error) {
	deafness, hear := context.WithCancel(ctx)
	defer hear()
	var heard []chan struct{}
	for n := range deafSources * deafPerSource {
		p, err := watchPackets(fmt.Sprintf("127.0.0.%d", 2+n%deafSources), true)
		if err != nil {
			return nil, err
		}
		defer p.Close()
		heard = append(heard, p.heard)
		go connect(deafness, t, p)
	}
	for _, each := range heard {
		select {
		case <-each:
		case <-ctx.Done():
			return nil, errors.New("the hub does not answer every Initial")
		}
	}
	honest, err := watchPackets("127.0.0.1", false)
	if err != nil {
		return nil, err
	}
	e, err := dial(ctx, t, dialOptions{instance: o.instance, socket: net.PacketConn(honest)})
	if err != nil {
		return nil, err
	}
	err = e.echoOnce(ctx, o.port, 100_000)
	return map[string]any{"retries": honest.retries.Load()}, errors.Join(err, e.leave())
}

// hold: a lane that stays until it has answered so many PINGs and taken a configuration of this
// revision, and then still works.
func hold(ctx context.Context, t token, o options) (any, error) {
	return with(ctx, t, o, func(e *edge) (any, error) {
		fmt.Printf(`{"open": true, "revision": %d}`+"\n", e.answer.Config.Revision)
		err := e.wait(ctx, "PING and CONFIG", func() bool {
			return e.pings >= o.pings && e.config.Revision >= e.answer.Config.Revision+int64(o.revisions)
		})
		if err != nil {
			return nil, err
		}
		e.mu.Lock()
		out := map[string]any{"pings": e.pings, "listenPorts": e.config.ListenPorts}
		e.mu.Unlock()
		return out, e.echoOnce(ctx, o.port, 1000)
	})
}
