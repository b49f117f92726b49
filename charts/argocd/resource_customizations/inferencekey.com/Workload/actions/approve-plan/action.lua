if obj.status == nil or obj.status.drift == nil or obj.status.drift.planId == nil then
  error("No plan waits for approval", 0)
end
if obj.status.observedGeneration ~= obj.metadata.generation then
  error("The plan is about an older spec: wait for the operator to plan anew", 0)
end
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["inferencekey.com/approve-plan"] = obj.status.drift.planId
return obj
