"""How the built-in model was made: render people, compose pictures, train, evaluate. Needs the extra `train`.

    python -m sapiens_stream.training.render --assets makehuman --out cutouts --count 6000 --seed 1
    python -m sapiens_stream.training.train --cutouts cutouts --backgrounds backgrounds --out run --hours 8
    python -m sapiens_stream.training.photos --photos photos --out targets
    python -m sapiens_stream.training.train --cutouts cutouts --backgrounds backgrounds \
        --photos photos targets --start weights.safetensors --steady --rate 2e-4 --out further
    python -m sapiens_stream.training.evaluate --cutouts cutouts --backgrounds backgrounds --out held_out
    python -m benchmarks.quality --pictures held_out

On a GPU `--mixed --echo 4 --batch 96 --workers N` keeps it busy: N processes compose, and each picture is used up to
four times, varied on the device. They have three shapes, since cuDNN plans anew for each new one, for 10 to 20 seconds;
give the last of `--sides` what the run is to see. `--agree 0.3` trains consecutive frames of a video to agree: of
pictures shifted a little, and with `--share-moments 0.2` of people rendered once more as they are a moment later
(`render --moments`). Where left and right joints are is learned beside the classes (`--joints`), by a layer that is
left out of what ships.

Rendering needs OpenGL through EGL; Mesa's software renderer will do (Debian: libegl1, libgl1-mesa-dri).

`makehuman`: the base assets of the MakeHuman community (CC0), folders clothes, eyebrows, eyelashes, hair, poses, skins,
teeth and tongue as MakeHuman lays them. `backgrounds`: any photographs without people; Debian's gnome-backgrounds,
mate-backgrounds, ukui-wallpapers, plasma-workspace-wallpapers, lomiri-wallpapers and budgie-backgrounds were unpacked
there (`dpkg -x`), stellarium-data's landscapes, and npm's `@pmndrs/assets`, whose panoramas are CC0.

`photos`: Clothing Co-Parsing (Apache-2.0), ID.jpg, ID.png and labels.json, the longer side 576 pixels: real clothes and
streets, which renders lack. Every tenth photo is kept for measuring.
"""
