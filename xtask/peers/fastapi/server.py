"""Answers Create Defect and Defect KPIs in Python, with models for JSON: `uvicorn server:app`."""
from fastapi import FastAPI
from pydantic import BaseModel


class FailedTest(BaseModel):
    testExecutionId: str
    testCaseId: str
    variationId: str | None = None
    linkToTestCaseLog: str | None = None


class Defect(BaseModel):
    id: str
    name: str
    description: str | None
    status: str | None
    priority: str | None
    link: str
    linkLabel: str


class Counts(BaseModel):
    totalDefects: int
    criticalDefects: int
    moderateDefects: int
    openDefects: int
    closedDefects: int
    criticalDefectsLink: str | None


app = FastAPI()


@app.post("/defects")
async def create(test: FailedTest) -> Defect:
    key = test.testExecutionId[:26]
    return Defect(id=key, name=f"{test.testCaseId} failed", description=test.linkToTestCaseLog,
                  status=test.variationId, priority=None, link=f"http://tracker.test/{key}", linkLabel=key)


@app.get("/api/kpis/project/{project}/defectstatus")
async def count(project: str) -> Counts:
    return Counts(totalDefects=len(project), criticalDefects=0, moderateDefects=0,
                  openDefects=len(project), closedDefects=0, criticalDefectsLink=None)
