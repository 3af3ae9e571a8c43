"""An RTSP server of a test picture, for live sources: PORT HEIGHT WIDTH [USER:PASSWORD], run by the system's Python.

Needs Debian's python3-gi, gir1.2-gst-rtsp-server-1.0 and gstreamer1.0-plugins-{base,good,ugly}; `--check` only tells
by its exit status whether they are there.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

Gst.init(None)
if sys.argv[1] == "--check":
    sys.exit(not all(Gst.ElementFactory.find(name) for name in ("videotestsrc", "x264enc", "rtph264pay")))

port, height, width, *user = sys.argv[1:]
factory = GstRtspServer.RTSPMediaFactory()
factory.set_launch(
    f"( videotestsrc is-live=true pattern=ball ! video/x-raw,width={width},height={height},framerate=25/1"
    # One thread, so one slice a picture: before each of several the payloader would repeat the parameter sets, which
    # cuts a key picture in two.
    " ! x264enc tune=zerolatency threads=1 speed-preset=ultrafast key-int-max=10"
    " ! rtph264pay name=pay0 config-interval=-1 )"
)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(port)
server.get_mount_points().add_factory("/live", factory)
if user:
    name, _, password = user[0].partition(":")
    allowed = GstRtspServer.RTSPToken()
    allowed.set_string("media.factory.role", "viewer")
    auth = GstRtspServer.RTSPAuth()
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(name, password), allowed)
    server.set_auth(auth)
    role = "viewer,media.factory.access=true,media.factory.construct=true"
    factory.add_role_from_structure(Gst.Structure.new_from_string(role))
server.attach(None)
print("ready", flush=True)
GLib.MainLoop().run()
