// One lane of an edge on quic-go: the handshake, the control stream, streams of clients.
package main

import (
	"bufio"
	"context"
	"crypto/hmac"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
)

const (
	alpn          = "penstock/1"
	codeReset     = quic.StreamErrorCode(0x01)
	initialWindow = 65536
	answerMax     = 65536
)

// edge is one connection to a hub, open: the hub has taken the hello and proved itself.
type edge struct {
	conn    *quic.Conn
	socket  net.PacketConn
	control *quic.Stream
	answer  answer

	mu      sync.Mutex // of what the control stream's reader notes, below, and of writing to it
	changed *sync.Cond
	config  config
	pings   int
	goodbye *goodbye
	ended   error
	closed  map[uint32][]byte // UDP sessions that the hub closed, and with which bytes
}

type dialOptions struct {
	socket   net.PacketConn // nil: one of its own
	instance string
	spoil    bool // say a wrong proof
}

// connect is QUIC and TLS alone, as far as both ends have checked ALPN.
func connect(ctx context.Context, t token, socket net.PacketConn) (*quic.Conn, error) {
	at, err := net.ResolveUDPAddr("udp", net.JoinHostPort(t.HubHost, strconv.Itoa(t.HubPort)))
	if err != nil {
		return nil, err
	}
	// The certificate is the pin's matter, and the proof's.
	conf := &tls.Config{NextProtos: []string{alpn}, MinVersion: tls.VersionTLS13, InsecureSkipVerify: true}
	return (&quic.Transport{Conn: socket}).Dial(ctx, at, conf, &quic.Config{
		EnableDatagrams: true, InitialStreamReceiveWindow: initialWindow, MaxStreamReceiveWindow: 4 << 20,
		MaxIncomingStreams: -1, MaxIncomingUniStreams: 100, MaxIdleTimeout: 6 * time.Second,
		KeepAlivePeriod: 2 * time.Second, HandshakeIdleTimeout: 5 * time.Second,
	})
}

func dial(ctx context.Context, t token, o dialOptions) (*edge, error) {
	var err error
	if o.socket == nil {
		if o.socket, err = listenUDP("127.0.0.1"); err != nil {
			return nil, err
		}
	}
	e := &edge{socket: o.socket, closed: map[uint32][]byte{}}
	e.changed = sync.NewCond(&e.mu)
	if e.conn, err = connect(ctx, t, o.socket); err != nil {
		o.socket.Close()
		return nil, err
	}
	reader, err := e.handshake(ctx, t, o)
	if err != nil {
		e.close(0, "")
		return nil, err
	}
	go e.read(reader)
	return e, e.acknowledge(e.answer.Config)
}

func (e *edge) handshake(ctx context.Context, t token, o dialOptions) (*bufio.Reader, error) {
	state := e.conn.ConnectionState().TLS
	if state.NegotiatedProtocol != alpn {
		return nil, fmt.Errorf("ALPN is %q", state.NegotiatedProtocol)
	}
	if err := t.checkPin(state); err != nil {
		return nil, err
	}
	proof, err := t.proof(state, edgeLabel)
	if err != nil {
		return nil, err
	}
	if o.spoil {
		proof, _ = t.proof(state, hubLabel)
	}
	if e.control, err = e.conn.OpenStreamSync(ctx); err != nil {
		return nil, err
	}
	line := mustJSON(hello{Version: 1, EdgeID: t.EdgeID, Instance: o.instance, Proof: proof,
		Software: "quicgo", Features: []string{}})
	if _, err = e.control.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	reader := bufio.NewReaderSize(e.control, answerMax)
	text, err := reader.ReadSlice('\n')
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	if err = json.Unmarshal(text, &e.answer); err != nil {
		return nil, fmt.Errorf("the answer: %w", err)
	}
	return reader, e.checkAnswer(t, state)
}

func (e *edge) checkAnswer(t token, state tls.ConnectionState) error {
	a := &e.answer
	if a.Error != nil {
		return a.Error
	}
	if a.Version != 1 || a.EdgeID != t.EdgeID || len(a.Session) != 22 || a.InitialWindow != initialWindow {
		return fmt.Errorf("an answer of version %d for %q, a session of %d characters, a window of %d",
			a.Version, a.EdgeID, len(a.Session), a.InitialWindow)
	}
	proof, err := t.proof(state, hubLabel)
	if err == nil && !hmac.Equal([]byte(proof), []byte(a.Proof)) {
		err = errors.New("the hub's proof is wrong")
	}
	return err
}

// read is the control stream's reader until its end.
func (e *edge) read(r *bufio.Reader) {
	for {
		m, err := readMessage(r)
		if err == nil {
			err = e.take(m)
		}
		e.mu.Lock()
		if err != nil {
			e.ended = err
		}
		e.changed.Broadcast()
		e.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (e *edge) take(m message) error {
	switch m.kind {
	case msgConfig:
		var c config
		if err := json.Unmarshal(m.payload, &c); err != nil {
			return err
		}
		return e.acknowledge(c)
	case msgPing:
		if len(m.payload) != 8 {
			return fmt.Errorf("a PING of %d bytes", len(m.payload))
		}
		e.mu.Lock()
		e.pings++
		e.mu.Unlock()
		return e.send(msgPong, m.payload)
	case msgGoodbye:
		var g goodbye
		if err := json.Unmarshal(m.payload, &g); err != nil {
			return err
		}
		e.mu.Lock()
		e.goodbye = &g
		e.mu.Unlock()
	case msgUDPClose:
		e.noteUDPClose(m.payload)
	case msgDrain:
	default:
		return fmt.Errorf("a message of type %#x from the hub", m.kind)
	}
	return nil
}

func (e *edge) acknowledge(c config) error {
	e.mu.Lock()
	e.config = c
	e.mu.Unlock()
	return e.send(msgConfigAck, mustJSON(configAck{Revision: c.Revision, ListenPorts: c.ListenPorts,
		ListenPortsUDP: c.ListenPortsUDP, Errors: []string{}}))
}

func (e *edge) send(kind messageType, payload []byte) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	_, err := e.control.Write(message{kind, payload}.bytes())
	return err
}

// wait is for something that the reader notes; the context's end wakes it too.
func (e *edge) wait(ctx context.Context, what string, isThere func() bool) error {
	stop := context.AfterFunc(ctx, func() {
		e.mu.Lock()
		e.changed.Broadcast()
		e.mu.Unlock()
	})
	defer stop()
	e.mu.Lock()
	defer e.mu.Unlock()
	for !isThere() {
		if ctx.Err() != nil || e.ended != nil {
			return fmt.Errorf("no %s: %w", what, errors.Join(ctx.Err(), e.ended))
		}
		e.changed.Wait()
	}
	return nil
}

// open begins a stream as if a client had come to this port.
func (e *edge) open(ctx context.Context, port int) (*quic.Stream, error) {
	s, err := e.conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	_, err = s.Write(proxyLine(port, 40000+int(s.StreamID()/4)%20000))
	return s, err
}

func proxyLine(port, clientPort int) []byte {
	return fmt.Appendf(nil, "PROXY TCP4 192.0.2.7 127.0.0.1 %d %d\r\n", clientPort, port)
}

func (e *edge) close(code quic.ApplicationErrorCode, why string) {
	e.conn.CloseWithError(code, why)
	e.socket.Close()
}
