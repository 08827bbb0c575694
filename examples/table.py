"""A table: early stopping on accuracy, the best weights, evaluation, prediction without labels, two runs compared."""

import torch
from lightning.pytorch.callbacks import EarlyStopping
from sklearn.datasets import load_breast_cancer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset, random_split

from zae_engine.trainer import Trainer, compare


class Classifier(Trainer):
    def train_step(self, batch):
        x, y = batch
        logits = self.model(x)
        return {"loss": F.cross_entropy(logits, y), "acc": (logits.argmax(1) == y).float().mean()}

    test_step = train_step


table, labels = load_breast_cancer(return_X_y=True, as_frame=True)  # or: table = pandas.read_csv("patients.csv")
new, table, labels = table[:5], table[5:], labels[5:]  # suppose that the labels of the first rows are not known
data = TensorDataset(torch.tensor(table.to_numpy()).float(), torch.tensor(labels.to_numpy()))
parts = random_split(data, [0.6, 0.2, 0.2], torch.Generator().manual_seed(0))
train, valid, test = (DataLoader(part, batch_size=32, shuffle=part is parts[0]) for part in parts)
by_accuracy = {"monitor": "val_acc", "monitor_mode": "max", "epoch_means": "samples"}  # which epoch is the best

runs = {}
for lr in (0.01, 0.001):
    torch.manual_seed(0)
    model = nn.Sequential(nn.BatchNorm1d(30), nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr)
    stop = EarlyStopping("val_acc", mode="max", patience=5)
    trainer = runs[f"lr {lr}"] = Classifier(model, "cpu", "train", optimizer, callbacks=stop, **by_accuracy)
    trainer.run(50, train, valid)

compare(runs, title="Two learning rates").savefig("runs.png")
print(compare(runs, "acc", table=True).round(4))
best = max(runs.values(), key=lambda trainer: trainer.history.best()["test_acc"])
print("test:", best.evaluate(test, weights="best"))
print("new rows:", best.predict(new, weights="best").argmax(1).tolist())
