// The control stream: two lines of JSON, then messages (api/tunnel.md, QUIC transport).
package main

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
)

type messageType byte

const (
	msgConfig    messageType = 0x06
	msgPing      messageType = 0x07
	msgPong      messageType = 0x08
	msgUDPOpen   messageType = 0x0B
	msgUDPClose  messageType = 0x0E
	msgConfigAck messageType = 0x0F
	msgDrain     messageType = 0x10
	msgGoodbye   messageType = 0x11
)

const payloadMax = 65536

type message struct {
	kind    messageType
	payload []byte
}

func readMessage(r io.Reader) (m message, err error) {
	var head [5]byte
	if _, err = io.ReadFull(r, head[:]); err != nil {
		return m, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n > payloadMax {
		return m, fmt.Errorf("a message of %d bytes", n)
	}
	m = message{messageType(head[0]), make([]byte, n)}
	_, err = io.ReadFull(r, m.payload)
	return m, err
}

func (m message) bytes() []byte {
	out := binary.BigEndian.AppendUint32([]byte{byte(m.kind)}, uint32(len(m.payload)))
	return append(out, m.payload...)
}

type hello struct {
	Version  int      `json:"version"`
	EdgeID   string   `json:"edgeId"`
	Instance string   `json:"instance"`
	Session  string   `json:"session,omitempty"`
	Lane     int      `json:"lane"`
	Proof    string   `json:"proof"`
	Software string   `json:"software"`
	Features []string `json:"features"`
}

type config struct {
	Revision        int64 `json:"revision"`
	ListenPorts     []int `json:"listenPorts"`
	ListenPortsUDP  []int `json:"listenPortsUdp"`
	StunIntervalSec int64 `json:"stunIntervalSecs"`
}

type answer struct {
	Version       int      `json:"version"`
	EdgeID        string   `json:"edgeId"`
	Proof         string   `json:"proof"`
	Session       string   `json:"session"`
	InitialWindow int      `json:"initialWindow"`
	Features      []string `json:"features"`
	Config        config   `json:"config"`
	Error         *refusal `json:"error"`
}

// refusal is what the hub answers to a hello that it does not take.
type refusal struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func (r *refusal) Error() string { return "refused: " + r.Code }

type configAck struct {
	Revision       int64    `json:"revision"`
	ListenPorts    []int    `json:"listenPorts"`
	ListenPortsUDP []int    `json:"listenPortsUdp"`
	Errors         []string `json:"errors"`
	PublicIP       *string  `json:"publicIp"`
}

type goodbye struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

func mustJSON(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return out
}
