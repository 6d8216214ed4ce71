"""Kernels of the sequential law: who goes where by a flow, the move itself, and the latents of the fine noise."""

from __future__ import annotations

import numpy as np
from numba import njit, prange


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def pool(noise, places, upscale, out):  # type: ignore[no-untyped-def]
    """Latents ``out`` ``[C, H, W]`` of the fine noise at ``places`` ``[H*upscale * W*upscale]``."""
    channels, height, width = out.shape
    columns = width * upscale
    for row in prange(height):
        sums = np.zeros((width, channels), np.float32)
        for fine in range(row * upscale, (row + 1) * upscale):
            for column in range(columns):
                place, cell = places[fine * columns + column], column // upscale
                for channel in range(channels):
                    sums[cell, channel] += noise[place, channel]
        for channel in range(channels):
            for column in range(width):
                out[channel, row, column] = sums[column, channel] / np.float32(upscale)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def link(flow, target, landed, next_landed, parts, next_part):  # type: ignore[no-untyped-def]
    """Who goes where: per cell its target, per target the chain of cells that land on it, per cell the chain of bare
    targets that split it (-2 for a bare target whose source is unknown). Returns the number of these, and how many
    draws are needed: one for each of these, then one for each part of a split cell, in order."""
    rows, columns = flow.shape[1:]
    landed[:] = -1
    parts[:] = -1
    for row in range(rows):
        for column in range(columns):
            cell = row * columns + column
            x, y = column + np.float32(0.5) + flow[0, row, column], row + np.float32(0.5) + flow[1, row, column]
            target[cell] = -1
            if x >= 0 and y >= 0 and x < columns and y < rows:
                place = int(y) * columns + int(x)
                target[cell] = place
                next_landed[cell] = landed[place]
                landed[place] = cell
    unknown, shared = 0, 0
    for row in range(rows):
        for column in range(columns):
            cell = row * columns + column
            if landed[cell] >= 0:
                continue
            x, y = column + np.float32(0.5) - flow[0, row, column], row + np.float32(0.5) - flow[1, row, column]
            if x >= 0 and y >= 0 and x < columns and y < rows:
                source = int(y) * columns + int(x)
                shared += 2 if parts[source] < 0 and target[source] >= 0 else 1
                next_part[cell] = parts[source]
                parts[source] = cell
            else:
                next_part[cell] = -2
                unknown += 1
    return unknown, unknown + shared


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def move(noise, places, moved_places, weights, free, free_count, links, draws, unknown):  # type: ignore[no-untyped-def]
    """Places and weights of the next frame, and its noise ``[2 N, C]`` in place.

    ``free[:free_count]`` are the rows of ``noise`` that no cell holds. A weight is read as ``scale * weight +
    fresh_weight``. Returns the new free_count and the sum of the new weights."""
    free_count = _split(noise, places, moved_places, weights, free, free_count, links, draws, unknown)
    _, landed, next_landed, _, next_part = links
    weight, moved_weight, _, fresh_weight = weights
    cells, channels = len(places), noise.shape[1]
    mean = np.empty(channels, np.float32)
    draw, all_weight = 0, 0.0
    for cell in range(cells):
        source = landed[cell]
        if source >= 0:
            moved_places[cell] = places[source]
            if next_landed[source] < 0:
                moved_weight[cell] = weight[source]
            else:
                free_count, moved_weight[cell] = _merge(
                    noise, places, weight, next_landed, source, free, free_count, mean
                )
        elif next_part[cell] == -2:
            free_count -= 1
            place = free[free_count]
            for channel in range(channels):
                noise[place, channel] = draws[draw, channel]
            moved_places[cell] = place
            moved_weight[cell] = fresh_weight
            draw += 1
        all_weight += moved_weight[cell]
    return free_count, all_weight


@njit(cache=True)  # type: ignore[untyped-decorator]
def _split(noise, places, moved_places, weights, free, free_count, links, draws, first):  # type: ignore[no-untyped-def]
    """Noise, places and weights of the parts of all cells that are split, whose draws begin at ``first``.

    Reads all weights as ``_move`` says, and frees the places of cells that leave the picture. Returns the new
    free_count."""
    target, _, _, parts, next_part = links
    weight, moved_weight, scale, fresh_weight = weights
    cells, channels = len(places), noise.shape[1]
    mean = np.empty(channels, np.float32)
    for cell in range(cells):
        weight[cell] = scale * weight[cell] + fresh_weight
        part, place = parts[cell], places[cell]
        if part < 0:
            if target[cell] < 0:
                free[free_count] = place
                free_count += 1
            continue
        stays = 1 if target[cell] >= 0 else 0
        members = stays
        while part >= 0:
            members += 1
            part = next_part[part]
        root = np.float32(1.0 / np.sqrt(members))
        share = weight[cell] / np.float32(members)
        for channel in range(channels):
            total = np.float32(0.0)
            for member in range(members):
                total += draws[first + member, channel]
            mean[channel] = noise[place, channel] * root - total / np.float32(members)
        if stays == 1:
            for channel in range(channels):
                noise[place, channel] = mean[channel] + draws[first, channel]
            weight[cell] = share
        else:
            free[free_count] = place
            free_count += 1
        part = parts[cell]
        member = stays
        while part >= 0:
            free_count -= 1
            place = free[free_count]
            for channel in range(channels):
                noise[place, channel] = mean[channel] + draws[first + member, channel]
            moved_places[part] = place
            moved_weight[part] = share
            member += 1
            part = next_part[part]
        first += members
    return free_count


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _merge(noise, places, weight, next_landed, source, free, free_count, mean):  # type: ignore[no-untyped-def]
    """Merges the chain of cells from ``source`` into its noise and frees the others' places; new free_count, weight."""
    channels = noise.shape[1]
    kept = places[source]
    total, squared = weight[source], weight[source] * weight[source]
    for channel in range(channels):
        mean[channel] = weight[source] * noise[kept, channel]
    source = next_landed[source]
    while source >= 0:
        total += weight[source]
        squared += weight[source] * weight[source]
        for channel in range(channels):
            mean[channel] += weight[source] * noise[places[source], channel]
        free[free_count] = places[source]
        free_count += 1
        source = next_landed[source]
    root = np.float32(1.0 / np.sqrt(squared))
    for channel in range(channels):
        noise[kept, channel] = mean[channel] * root
    return free_count, total
