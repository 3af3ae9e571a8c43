"""Draws a dressed person with OpenGL, off screen: colour, alpha, and the class of every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import cv2
import moderngl
import numpy as np
import numpy.typing as npt

from sapiens_stream.training.garments import Cloth, Cut
from sapiens_stream.training.mesh import FloatArray

UInt8Array = npt.NDArray[np.uint8]
Matrix = npt.NDArray[np.float64]

SUPERSAMPLED = 2
SHADOW_SIDE = 512
KEPT_TEXTURES = 80

_FIELDS = """
bool outside(vec4 f) {
  return f.x < arm.x || f.x > arm.y || f.y < leg.x || f.y > leg.y || f.z < height.x || f.z > height.y;
}
"""
_VERTEX = """#version 330
in vec3 position, normal, rest; in vec2 uv; in float label; in vec4 fields;
uniform mat4 camera, sun; uniform vec4 push; uniform float folds;
out vec3 Normal, Position, Rest; out vec2 Uv; flat out float Label; out vec4 Sun, Fields;
void main() {
  float off = push.x + push.y * clamp(fields.x, 0., 2.) + push.z * clamp(fields.y, 0., 2.)
            + push.w * clamp(1. - fields.z, 0., 1.);
  off += folds * .5 * (sin(rest.z * 41. + rest.x * 23.) + sin(rest.x * 37. - rest.z * 19. + rest.y * 31.));
  vec3 moved = position + normal * off;
  gl_Position = camera * vec4(moved, 1.);
  Sun = sun * vec4(moved + normal * .008, 1.);
  Normal = normal; Position = moved; Rest = rest; Uv = uv; Label = label; Fields = fields;
}"""
_FRAGMENT = (
    """#version 330
in vec3 Normal, Position, Rest; in vec2 Uv; flat in float Label; in vec4 Sun, Fields;
uniform sampler2D image, noise; uniform sampler2DShadow shadow;
uniform vec3 tint, eye, key, key_colour, fill, fill_colour, sky, ground, aside;
uniform vec3 colour1, colour2, colour3, opening, neck_at;
uniform vec2 arm, leg, height, labels;
uniform vec4 neck, strap;
uniform float pattern, frequency, density, recolour, brightness, wrinkles, shine;
uniform float saturation, see_through, wrap, collar, tie;
layout(location = 0) out vec4 colour; layout(location = 1) out vec4 label;
"""
    + _FIELDS
    + """
vec3 dyed() {
  int kind = int(pattern); vec2 at = vec2(Rest.x + Rest.y * .6, Rest.z);
  bool row = fract(at.y * frequency) < density, column = fract(at.x * frequency) < density;
  if (kind == 1) return row ? colour2 : colour1;
  if (kind == 2) return column ? colour2 : colour1;
  if (kind == 3) return mix(row ? mix(colour1, colour2, .5) : colour1, colour2, column ? .5 : 0.);
  if (kind == 4) {
    float n = texture(noise, at * frequency * .12).b;
    return n < density ? colour2 : n < density + .12 ? colour3 : colour1;
  }
  if (kind == 5) {
    vec2 e = (Rest.xz - vec2(0., neck_at.z - .22)) / vec2(.13, .12);
    bool on = Rest.y < neck_at.y && max(abs(e.x), abs(e.y)) < 1. && texture(noise, e * .21 + frequency).b > .5;
    return !on ? colour1 : texture(noise, e * .33).g > .5 ? colour2 : colour3;
  }
  if (kind == 6) return length(fract(at * frequency) - .5) < density * .7 ? colour2 : colour1;
  if (kind == 7) return Fields.z > .35 + .5 * density ? colour2 : colour1;
  return colour1;
}
bool cut_away(bool front) {
  if (outside(Fields)) return true;
  if (neck.x > 0.) {
    vec2 e = vec2(abs(Rest.x) / neck.x, (neck_at.z - Rest.z) / (front ? neck.y : neck.w));
    if (collar < 0. && (neck.z < .5 ? dot(e, e) < 1. : e.x + max(e.y, 0.) < 1.)) return true;
    if (Fields.w > .35 && Rest.z > neck_at.z + max(collar, -.02)) return true;
  }
  if (opening.x > 0. && front && Fields.x < 0.) {
    float button = neck_at.z - opening.z;
    float half_width = Rest.z > button ? opening.x * (Rest.z - button) / opening.z : opening.y;
    if (abs(Rest.x) < half_width) return true;
  }
  return strap.w > 0. && abs(dot(vec3(Rest.xz, 1.), strap.xyz)) > strap.w;
}
void main() {
  bool front = Rest.y < neck_at.y;
  if (cut_away(front)) discard;
  vec4 texel = texture(image, Uv);
  if (texel.a < see_through) discard;
  float id = labels.x < 0. ? Label : Rest.x > 0. ? labels.x : labels.y;
  vec3 albedo = pow(texel.rgb, vec3(2.2));
  float luminance = dot(albedo, vec3(.3, .6, .1));
  albedo = mix(vec3(luminance), albedo, saturation) * tint;
  if (recolour > 0.) {
    vec3 dye = dyed();
    bool tied = tie > 0. && front && Fields.z > .15 && Rest.z < neck_at.z - .035
             && abs(Rest.x) < tie * (.6 + 2. * clamp(neck_at.z - Rest.z, 0., .3));
    if (tied) { dye = colour3; id = 1.; }
    albedo = mix(albedo, dye * mix(1., clamp(luminance / brightness, .3, 1.8), .9), recolour);
  }
  vec3 n = normalize(Normal), view = normalize(eye - Position);
  if (wrinkles > 0.) {
    vec3 bump = texture(noise, vec2(Rest.x + Rest.y * .7, Rest.z * .8) * 2.3).rgb - .5;
    bump += .6 * (texture(noise, vec2(Rest.x - Rest.y * .5, Rest.z) * 6.1).gbr - .5);
    n = normalize(n + bump * wrinkles);
  }
  if (dot(normalize(Normal), view) < 0.) n = -n;
  vec3 at = Sun.xyz / Sun.w * .5 + .5;
  float lit = texture(shadow, vec3(at.xy, at.z - .002));
  float from_key = max((dot(n, key) + wrap) / (1. + wrap), 0.);
  float from_fill = max((dot(n, fill) + wrap) / (1. + wrap), 0.);
  vec3 ambient = max(mix(ground, sky, n.z * .5 + .5) + aside * n.x * .5, 0.);
  vec3 light = albedo * (ambient + key_colour * from_key * lit + fill_colour * from_fill);
  light += key_colour * lit * shine * pow(max(dot(n, normalize(key + view)), 0.), 28.);
  colour = vec4(pow(light / (1. + light * .35), vec3(1. / 2.2)), 1.);
  label = vec4(id / 255., 0., 0., 1.);
}"""
)
_SHADOW_VERTEX = """#version 330
in vec3 position; in vec2 uv; in vec4 fields; uniform mat4 sun; out vec2 Uv; out vec4 Fields;
void main() { gl_Position = sun * vec4(position, 1.); Uv = uv; Fields = fields; }"""
_SHADOW_FRAGMENT = (
    """#version 330
in vec2 Uv; in vec4 Fields; uniform sampler2D image; uniform float see_through; uniform vec2 arm, leg, height;
"""
    + _FIELDS
    + """
void main() { if (texture(image, Uv).a < see_through || outside(Fields)) discard; }"""
)


@dataclass(frozen=True, eq=False)
class Part:
    """One thing to draw: `buffer` as Mesh.buffer gives it, `drawn` its triangles; label -1 keeps the mesh's classes."""

    buffer: FloatArray
    drawn: npt.NDArray[np.int32]
    cloth: Cloth = field(default_factory=lambda: Cloth(recolour=0.0))
    cut: Cut = field(default_factory=Cut)
    labels: tuple[int, int] = (-1, -1)
    texture: tuple[str, UInt8Array] | None = None
    tint: tuple[float, float, float] = (1, 1, 1)
    saturation: float = 1.0
    see_through: float = 0.0
    wrap: float = 0.15
    closed: bool = False
    """Its back faces need not be drawn."""
    shadow: bool = True

    def uniforms(self) -> dict[str, Any]:
        cloth, cut = self.cloth, self.cut
        one, two, three = cloth.colours
        return {
            "tint": self.tint,
            "saturation": self.saturation,
            "see_through": self.see_through,
            "wrap": self.wrap,
            "labels": self.labels,
            "colour1": one,
            "colour2": two,
            "colour3": three,
            "pattern": float(cloth.pattern),
            "frequency": cloth.frequency,
            "density": cloth.density,
            "recolour": cloth.recolour,
            "brightness": cloth.brightness,
            "wrinkles": cloth.wrinkles,
            "shine": cloth.shine,
            "arm": cut.arm,
            "leg": cut.leg,
            "height": cut.height,
            "push": cut.push,
            "folds": cut.folds,
            "neck": cut.neck,
            "collar": cut.collar,
            "opening": cut.opening,
            "strap": cut.strap,
            "tie": cut.tie,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Shot:
    """Camera and light. `camera` (4, 4) takes the world to clip space, `sun` to the shadow map's."""

    camera: Matrix
    sun: Matrix
    light: Mapping[str, tuple[float, float, float]]
    """eye, key, key_colour, fill, fill_colour, sky, ground, aside, neck_at."""


class Canvas:
    """Holds the GL state; draws on a software renderer too."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        create: Any = (
            moderngl.create_context
        )  # its types do not know the options of a backend, nor what a program holds
        context = self._context = create(standalone=True, backend="egl")
        self._program = context.program(_VERTEX, _FRAGMENT)
        self._shadow_program = context.program(_SHADOW_VERTEX, _SHADOW_FRAGMENT)
        size = width * SUPERSAMPLED, height * SUPERSAMPLED
        self._colour, self._label = context.texture(size, 4), context.texture(size, 4)
        self._frame = context.framebuffer([self._colour, self._label], context.depth_texture(size))
        self._depth = context.depth_texture((SHADOW_SIDE, SHADOW_SIDE))
        self._depth.compare_func = "<="
        self._depth.filter = moderngl.LINEAR, moderngl.LINEAR
        self._shadow_frame = context.framebuffer([], self._depth)
        self._textures: dict[str, moderngl.Texture] = {}
        self._white = "white", np.full((4, 4, 4), 255, np.uint8)
        self._noise = self._upload(_noise())

    def _upload(self, image: UInt8Array) -> moderngl.Texture:
        texture: moderngl.Texture = self._context.texture(
            image.shape[1::-1], 4, np.ascontiguousarray(image[::-1]).tobytes()
        )
        texture.build_mipmaps()
        texture.filter = moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR
        return texture

    def _texture(self, key: str, image: UInt8Array) -> moderngl.Texture:
        if key not in self._textures:
            if len(self._textures) >= KEPT_TEXTURES:
                self._textures.pop(next(iter(self._textures))).release()
            self._textures[key] = self._upload(image)
        return self._textures[key]

    def draw(self, parts: list[Part], shot: Shot) -> tuple[UInt8Array, UInt8Array]:
        """rgba (height, width, 4), premultiplied, and label (height, width); `parts` from the inside out."""
        context, program, shadows = self._context, self._program, self._shadow_program
        context.enable(moderngl.DEPTH_TEST)
        program["camera"].write(shot.camera.T.astype("f4").tobytes())
        for each in (program, shadows):
            each["sun"].write(shot.sun.T.astype("f4").tobytes())
        for name, value in shot.light.items():
            program[name].value = tuple(map(float, value))
        program["image"].value, program["shadow"].value, program["noise"].value = 0, 1, 2
        buffers: dict[int, Any] = {}
        drawn = []
        for part in parts:
            rows = buffers.setdefault(id(part.buffer), None) or context.buffer(part.buffer.tobytes())
            buffers[id(part.buffer)] = rows
            index = context.buffer(np.ascontiguousarray(part.drawn).tobytes())
            layout = "3f 3f 2f 1f 3f 4f", "position", "normal", "uv", "label", "rest", "fields"
            seen = context.vertex_array(program, [(rows, *layout)], index)
            cast = context.vertex_array(shadows, [(rows, "3f 12x 2f 16x 4f", "position", "uv", "fields")], index)
            drawn.append((part, seen, cast, index))
        self._shadow_frame.use()
        self._shadow_frame.clear(depth=1.0)
        for part, _, cast, _ in drawn:
            if part.shadow:
                self._texture(*(part.texture or self._white)).use(0)
                for name in ("see_through", "arm", "leg", "height"):
                    shadows[name].value = part.uniforms()[name]
                cast.render()
        self._frame.use()
        self._frame.clear(0, 0, 0, 0)
        self._depth.use(1)
        self._noise.use(2)
        for part, seen, _, _ in reversed(drawn):  # outer layers first: the depth test then spares the inner ones
            self._texture(*(part.texture or self._white)).use(0)
            for name, value in part.uniforms().items():
                program[name].value = value
            (context.enable if part.closed else context.disable)(moderngl.CULL_FACE)
            seen.render()
        context.disable(moderngl.CULL_FACE)
        for _, seen, cast, index in drawn:
            for thing in (seen, cast, index):
                thing.release()
        for rows in buffers.values():
            rows.release()
        return self._read()

    def _read(self) -> tuple[UInt8Array, UInt8Array]:
        size = self.height * SUPERSAMPLED, self.width * SUPERSAMPLED, 4
        colour = np.frombuffer(self._colour.read(), np.uint8).reshape(size)[::-1]
        label = np.frombuffer(self._label.read(), np.uint8).reshape(size)[::-1, :, 0]
        # Nothing is drawn where alpha is 0, so that averaging premultiplies.
        rgba = cv2.resize(colour, (self.width, self.height), interpolation=cv2.INTER_AREA)
        return np.asarray(rgba, np.uint8), np.ascontiguousarray(label[::SUPERSAMPLED, ::SUPERSAMPLED])


def _noise(side: int = 256) -> UInt8Array:
    """Three channels of smooth noise about 128, the same at each start."""
    rng = np.random.default_rng(7)
    channels = []
    for _ in range(3):
        octaves = [
            cv2.resize(rng.random((k, k), np.float32), (side, side), interpolation=cv2.INTER_CUBIC) / k**0.7
            for k in (8, 16, 32)
        ]
        total = np.sum(octaves, 0)
        channels.append(np.clip((total - total.mean()) / total.std() * 0.18 + 0.5, 0, 1) * 255)
    return np.dstack([*channels, np.full((side, side), 255)]).astype(np.uint8)
