-- The health of a Workload is what its conditions say, which follow kstatus; and a plan that waits for approval.
-- What is being deleted never gets here: Argo CD itself calls it Progressing.
local hs = { status = "Progressing", message = "Waiting for the operator" }

local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return hs
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  if condition.status == "True" or condition.type == "Ready" then
    conditions[condition.type] = condition
  end
end

local ready = conditions["Ready"]
if ready == nil then
  return hs
end
hs.message = ready.message

local plan = nil
if status.drift ~= nil then
  plan = status.drift.planId
end

if conditions["Suspended"] ~= nil then
  hs.status = "Suspended"
  hs.message = conditions["Suspended"].message
elseif ready.status == "True" then
  hs.status = "Healthy"
  if plan ~= nil then
    hs.message = ready.message .. ". Plan " .. plan .. " may be approved: " .. status.drift.summary
  end
elseif conditions["Stalled"] ~= nil then
  hs.status = "Degraded"
elseif conditions["Reconciling"] == nil and plan ~= nil then
  hs.status = "Suspended"
  hs.message = "Plan " .. plan .. " waits for approval, here by the action approve-plan. " .. ready.message
end
return hs
