"""Train a small classifier with zae-engine: train, validate, evaluate, predict and save.

The data are scikit-learn's digits, 1,797 handwritten digits of 8 x 8 pixels; random data where scikit-learn is missing.
It takes some seconds on a CPU. Replace `load_data` and `Classifier`, and it trains on data of your own.
"""

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from zae_engine.schedulers import CosineAnnealingScheduler
from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import StateManagerAddon

EPOCHS = 10
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Classifier(Trainer):
    """What happens to a batch."""

    def train_step(self, batch):
        """Return the loss to minimize, and whatever is to be logged; the model is in train mode."""
        x, y = batch
        logits = self.model(x)
        return {"loss": F.cross_entropy(logits, y), "acc": (logits.argmax(1) == y).float().mean()}

    def test_step(self, batch):
        """Return the same for validation and evaluation; the model is in eval mode."""
        return self.train_step(batch)


def load_data():
    """Return features [sample, feature] and labels [sample]."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:  # pip install scikit-learn
        x = torch.randn(1797, 64)
        return x, (x @ torch.randn(64, 10)).argmax(1)
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images, dtype=torch.float32) / 16, torch.tensor(labels)


def main():
    """Train, evaluate, predict and save."""
    torch.manual_seed(0)
    x, y = load_data()
    order = torch.randperm(len(x))
    train, valid, test = (TensorDataset(x[part], y[part]) for part in order.split([1257, 270, 270]))
    train_loader = DataLoader(train, batch_size=32, shuffle=True)
    valid_loader = DataLoader(valid, batch_size=64)
    test_loader = DataLoader(test, batch_size=64)

    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2), nn.Linear(128, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    scheduler = CosineAnnealingScheduler(optimizer, total_iters=EPOCHS)

    # The add-on saves the trainer in a folder after every epoch with a better loss.
    trainer = Classifier.add_on(StateManagerAddon)(
        model, DEVICE, "train", optimizer, scheduler, save_path="zae_example_state"
    )
    trainer.run(n_epoch=EPOCHS, loader=train_loader, valid_loader=valid_loader)
    trainer.apply_weights()  # those of the best epoch
    results = trainer.evaluate(test_loader)
    print(f"Test loss {results['loss']:.3f}, test accuracy {results['acc']:.1%}")

    # Prediction needs no labels.
    unlabelled, labels = test.tensors
    predicted = trainer.predict(unlabelled).argmax(1)
    print(f"Predicted {predicted[:10].tolist()}")
    print(f"Actual    {labels[:10].tolist()}")

    trainer.save_model("zae_example_model.pt")  # the weights alone, for torch.load
    print("Saved zae_example_model.pt, and the trainer in zae_example_state")


if __name__ == "__main__":
    main()
