"""Real and distilled clips, class by class: what matching by gradients or embeddings compares."""

import numpy as np
import torch

from sklearn_ddfad._training import clip_reader


class ClassBatches:
    """Random batches of the real clips of each class.

    Parameters
    ----------
    X : Rows
        The real clips.
    codes : ndarray
        Their class indices.
    batch_size : int
        Clips of a class in a batch; all of them where it has fewer.
    augmentation : callable
        Drawn once for a class: its real and its distilled clips are changed alike.
    device : torch.device
        Where to.
    """

    def __init__(self, X, codes, batch_size, augmentation, device):
        self._read, self._clip_shape = clip_reader(X, device), X.shape[1:]
        self._members = [
            torch.from_numpy(np.flatnonzero(codes == code)) for code in range(codes.max() + 1)
        ]
        self._batch_size, self._augmentation = batch_size, augmentation

    def __len__(self):
        return len(self._members)

    def pairs(self, iterate, generator):
        """Yield, for each class, real clips, distilled clips and the indices of these."""
        for code, members in enumerate(self._members):
            chosen = torch.randperm(len(members), generator=generator)[: self._batch_size]
            own = (iterate.codes == code).nonzero()[:, 0]
            # Drawn for one clip, it is the same for all of either kind (Siamese augmentation).
            draw = self._augmentation.draw((1, *self._clip_shape), generator)
            real, distilled = (
                self._augmentation(clips, draw)
                for clips in (self._read(members[chosen]), iterate.clips[own])
            )
            yield real, distilled, own
